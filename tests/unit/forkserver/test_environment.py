from pathlib import Path

import pytest

from appliance.forkserver import environment as module
from appliance.forkserver.environment import ENGINE_ENVIRONMENT, missing_from

BUNDLE = Path("/somewhere/bundle.pem")


def test_all_is_added_to_an_empty_environment_and_nothing_twice() -> None:
    missing = missing_from({}, BUNDLE)
    assert missing == {**ENGINE_ENVIRONMENT, "SSL_CERT_DIR": "/nonexistent"}
    assert missing_from(missing, BUNDLE) == {}


def test_what_an_operator_has_set_is_kept() -> None:
    missing = missing_from({"GOGC": "200", "SSL_CERT_DIR": "/mine"}, BUNDLE)
    assert not {"GOGC", "SSL_CERT_DIR"} & missing.keys()


@pytest.mark.parametrize(("environment", "hidden"), [({}, False), ({"SSL_CERT_FILE": "/a.pem"}, True)])
def test_a_machine_without_a_bundle_keeps_its_folder_of_single_certificates(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], hidden: bool
) -> None:
    monkeypatch.setattr(module, "system_bundle", lambda: None)
    assert ("SSL_CERT_DIR" in missing_from(environment)) is hidden
