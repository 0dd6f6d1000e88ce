"""The settings that install.sh writes are those that the appliance reads."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.config import load_settings
from appliance.database import Database

ROOT = Path(__file__).resolve().parents[2]


def write(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", str(ROOT / "provisioning" / "settings.py"), *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    done = write(
        "amda", "storage.quota_bytes=8388608000", AMDA_LOG_LEVEL="debug", AMDA_NETWORK_PROXY="socks5://[::1]:1"
    )
    assert done.returncode == 0, done.stderr
    file = tmp_path / "amda.toml"
    file.write_text(done.stdout)
    settings = load_settings(file, {})
    assert settings.paths.run_dir == Path("/run/amda")
    assert settings.redis.user == "amda"
    assert settings.storage.quota_bytes == 8_388_608_000
    assert settings.log.level == "debug"
    assert settings.network.proxy == "socks5://[::1]:1"


def test_a_variable_that_means_nothing_is_named() -> None:
    done = write("amda", AMDA_STORAGE_QUOTA="5")
    assert done.returncode == 1
    assert "AMDA_STORAGE_QUOTA" in done.stderr
    assert done.stdout == ""


def test_what_changes_is_changed_in_edited_settings_setting_by_setting(tmp_path: Path) -> None:
    before, edited, now = (tmp_path / name for name in ("before", "edited", "now"))
    before.write_text('[storage]\nkind = "s3"\nquota_bytes = 5000000000\n[log]\nlevel = "info"\n')
    edited.write_text(
        '# mine\n[storage]\nkind = "s3"  # why\nquota_bytes = 7000000000\n[log]\nlevel = "info"\n'
        '[webhooks]\nprivate_networks = ["10.0.0.0/8"]\n'
    )
    now.write_text('[storage]\nquota_bytes = 6000000000\n[log]\nlevel = "info"\n[api]\nlisten = "127.0.0.1:8480"\n')
    files = ("--edited", str(edited), "--before", str(before), "--now", str(now))
    done = write("merge", *files)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "  kept your storage.quota_bytes (it would be 6000000000 now)\n"
    assert done.stdout.startswith("# mine\n[storage]\nquota_bytes = 7000000000\n")
    edited.write_text(done.stdout)
    settings = load_settings(edited, {})
    assert settings.storage.kind == "folder"
    assert settings.api.listen == "127.0.0.1:8480"
    assert settings.webhooks.private_networks == ("10.0.0.0/8",)
    assert write("merge", *files).stdout == edited.read_text(), "again it changes nothing"
    for text in ("[log\n", '[log]\nlevel = "loudest"\n'):
        edited.write_text(text)
        refused = write("merge", *files)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert str(edited) in refused.stderr or "TOML" in refused.stderr


@pytest.mark.parametrize(("kind", "held"), [(None, "0"), ("folder", "0"), ("s3", "1")])
def test_what_lies_in_an_s3_is_counted(tmp_path: Path, kind: str | None, held: str) -> None:
    file = tmp_path / "amda.db"

    async def fill() -> None:
        database = await Database.open(file)
        await database.execute(
            "INSERT INTO objects (key, session, size, sha256, stored_at) VALUES ('a', 'awa', 7, 'x', 1)"
        )
        if kind is not None:
            await database.execute("INSERT INTO meta (key, value) VALUES ('storage.kind', ?)", (kind,))
        await database.close()

    assert write("held", "--database", str(file)).stdout == "0\n", "there is none yet"
    asyncio.run(fill())
    assert write("held", "--database", str(file)).stdout == f"{held}\n"


def test_redis_knows_one_user_and_not_its_password(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    done = write("redis", "--folder", "/var/lib/amda-redis", "--socket", "/run/r.sock", "--password-file", str(secret))
    assert done.returncode == 0, done.stderr
    assert "s3cret" not in done.stdout
    assert f"user amda on #{hashlib.sha256(b's3cret').hexdigest()} " in done.stdout
    assert "user default off" in done.stdout
    assert "port 0\n" in done.stdout
