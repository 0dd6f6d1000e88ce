"""Whether a login has to be made: what the object store answers to the one that is there."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest
from minio.error import MinioAdminException, S3Error

FILE = Path(__file__).resolve().parents[2] / "provisioning" / "minio_login.py"


@pytest.fixture
def login() -> ModuleType:
    spec = importlib.util.spec_from_file_location("minio_login", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def refusal(code: str, status: int = 403) -> S3Error:
    return S3Error(mock.Mock(status=status), code, "", "", "", "")


def answered(login: ModuleType, folder: Path, *answers: S3Error | None) -> int:
    (folder / "s3.toml").write_text('access_key = "a"\nsecret_key = "b"\n')
    store = mock.Mock()
    store.put_object.side_effect = answers
    options = argparse.Namespace(credentials=folder / "s3.toml", endpoint="http://127.0.0.1:9000", bucket="media")
    with mock.patch.object(login, "client", return_value=store), mock.patch.object(login, "PAUSE_S", 0):
        return int(login.patiently(login.check, options))


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "NoSuchBucket"])
def test_no_login(login: ModuleType, tmp_path: Path, code: str) -> None:
    assert answered(login, tmp_path, refusal(code)) == login.MISSING


def test_a_busy_store_is_asked_again(login: ModuleType, tmp_path: Path) -> None:
    assert answered(login, tmp_path, refusal("SlowDown", 503), refusal("SlowDown", 503), None) == login.OK


def test_one_that_is_not_ready_yet_is_asked_again_to_make_one(login: ModuleType) -> None:
    busy = MinioAdminException("503", "XMinioServerNotInitialized")
    make = mock.Mock(side_effect=[refusal("XMinioServerNotInitialized", 503), busy, login.OK])
    with mock.patch.object(login, "PAUSE_S", 0):
        assert login.patiently(make, argparse.Namespace()) == login.OK
    with pytest.raises(MinioAdminException):
        login.patiently(mock.Mock(side_effect=MinioAdminException("403", "")), argparse.Namespace())


def test_a_full_store_knows_whom_it_tells_so(login: ModuleType, tmp_path: Path) -> None:
    assert answered(login, tmp_path, refusal("XMinioStorageFull", 507)) == login.OK


def test_what_says_nothing_about_the_login(login: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(S3Error):
        answered(login, tmp_path, refusal("InternalError", 500))


def test_a_file_that_is_no_login(login: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "s3.toml").write_text("")
    options = argparse.Namespace(credentials=tmp_path / "s3.toml", endpoint="http://127.0.0.1:9000", bucket="media")
    assert login.check(options) == login.MISSING
