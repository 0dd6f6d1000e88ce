"""Settings: what is read, what overrides what, and that every mistake is one helpful line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.config import ConfigError, load_settings, read_settings
from appliance.settings_views import describe, hide_password


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "amda.toml"
    file.write_text(text)
    return file


def test_defaults_need_no_file(tmp_path: Path) -> None:
    settings = load_settings(None, {"XDG_STATE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})
    expected = Path("/var/lib/amda") if os.geteuid() == 0 else tmp_path / "amda"
    assert settings.paths.state_dir == expected
    assert settings.paths.run_dir == expected / "run"
    assert settings.storage.path == expected / "media"
    assert settings.redis_url == f"unix://{expected}/run/redis.sock"


def test_file_then_environment(tmp_path: Path) -> None:
    file = write(tmp_path, f'[paths]\nstate_dir = "{tmp_path}"\n[pairing]\nslots = 7\n[capture]\ndeleted = false\n')
    environ = {
        "AMDA_PAIRING_SLOTS": "9",
        "AMDA_CAPTURE_KEEP_HOURS": "1.5",
        "AMDA_REDIS_OWN": "false",
        "AMDA_TEST_X": "y",
    }
    settings = load_settings(file, environ)
    assert settings.paths.state_dir == tmp_path
    assert settings.pairing.slots == 9
    assert settings.capture.deleted is False
    assert settings.capture.keep_hours == 1.5
    assert settings.redis.own is False


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[pairing]\nslotz = 1\n", ["amda.toml", "slotz", "did you mean slots"]),
        ("[pairings]\n", ["amda.toml", "pairings", "did you mean pairing"]),
        ('[pairing]\nslots = "4"\n', ["amda.toml", "pairing.slots", "int"]),
        ("[pairing]\nslots = 17\n", ["pairing.slots", "<= 16"]),
        ("pairing = 3\n", ["pairing", "[pairing]"]),
        ("[pairing\n", ["amda.toml", "not valid TOML"]),
        ('[paths]\nstate_dir = "var/x"\n', ["paths.state_dir", "relative", "from /"]),
        ('[storage]\nkind = "tape"\n', ["storage.kind", "tape"]),
    ],
)
def test_mistakes_name_place_field_and_remedy(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, text), {})
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_mistake_in_a_variable_names_it(tmp_path: Path) -> None:
    for variable, value in (("AMDA_PAIRING_SLOTS", "many"), ("AMDA_PAIRING_SLOTZ", "1")):
        with pytest.raises(ConfigError, match=variable):
            load_settings(write(tmp_path, ""), {variable: value})


def test_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(tmp_path / "missing.toml", {})
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(None, {"AMDA_CONFIG": str(tmp_path / "missing.toml")})


def test_empty_variable_means_none(tmp_path: Path) -> None:
    file = write(tmp_path, '[network]\nproxy = "http://127.0.0.1:1"\n')
    assert load_settings(file, {"AMDA_NETWORK_PROXY": ""}).network.proxy is None


def test_every_setting_is_described_and_secrets_are_hidden(tmp_path: Path) -> None:
    loaded = read_settings(
        write(tmp_path, '[redis]\nurl = "redis://me:hunter2@127.0.0.1/1"\n'), {"AMDA_LOG_LEVEL": "error"}
    )
    fields = list(describe(loaded.settings, loaded))
    assert [field for field in fields if not field.description] == []
    sources = {f"{field.section}.{field.key}": field.source.value for field in fields}
    assert sources["redis.url"] == "file"
    assert sources["log.level"] == "environment"
    assert sources["log.format"] == "default"
    assert "hunter2" not in repr(fields)
    assert hide_password("unix:///run/x.sock") == "unix:///run/x.sock"


def test_alert_settings_are_read_checked_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "amda.toml"
    file.write_text('[alerts]\nurls = ["mailto://u:secretpassword@example.org"]\nquiet_from = "22:00"\n')
    with pytest.raises(ConfigError, match="alerts: quiet_from and quiet_to belong together"):
        load_settings(file, {})
    environ = {
        "AMDA_ALERTS_QUIET_TO": "07:00",
        "AMDA_ALERTS_WEBHOOK_SECRET": "0123456789abcdef",
        "AMDA_ALERTS_URLS": "ntfy://example.org/topicsecret  tgram://1:2/3",
    }
    loaded = read_settings(file, environ)
    settings = loaded.settings
    assert settings.alerts.urls == ("ntfy://example.org/topicsecret", "tgram://1:2/3")
    shown = {f"{view.section}.{view.key}": view.value for view in describe(loaded.settings, loaded)}
    assert shown["alerts.urls"] == shown["alerts.webhook_secret"] == "···"
    assert shown["alerts.heartbeat_url"] == ""
    assert "topicsecret" not in str(shown)
    assert shown["history.keep_days"] == 400
