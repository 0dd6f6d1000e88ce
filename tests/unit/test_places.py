"""A client must look for the socket exactly where the daemon opens it: both are asked, with the same settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.config import load_settings
from appliance.places import PlaceError, api_socket, default_config_path


@pytest.mark.parametrize(
    "text", ["", "[paths]\nstate_dir = '{0}/a'", "[paths]\nrun_dir = '{0}/r'\nstate_dir = '{0}/a'"]
)
@pytest.mark.parametrize("variables", [{}, {"AMDA_PATHS_STATE_DIR": "/s"}, {"AMDA_PATHS_RUN_DIR": "/r"}])
def test_finds_the_socket_where_the_daemon_opens_it(tmp_path: Path, text: str, variables: dict[str, str]) -> None:
    file = tmp_path / "amda.toml"
    file.write_text(text.format(tmp_path))
    environ = {**variables, "AMDA_CONFIG": str(file)}
    assert api_socket(environ=environ) == load_settings(environ=environ).paths.api_socket
    assert api_socket(file, variables) == load_settings(file, variables).paths.api_socket


@pytest.mark.parametrize("text", ["[paths", "paths = 5", "[paths]\nrun_dir = 5"])
def test_a_file_that_does_not_say_it_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "amda.toml"
    with pytest.raises(PlaceError, match="no such file"):
        api_socket(file, {})
    file.write_text(text)
    with pytest.raises(PlaceError, match=r"amda\.toml: "):
        api_socket(file, {})


def test_a_home_of_somebody_else_is_as_good_as_none(tmp_path: Path) -> None:
    """Who has become another user by su or runuser keeps the first one's HOME, and may not look into it."""
    closed = tmp_path / "home"
    closed.mkdir(mode=0)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            default_config_path({"XDG_CONFIG_HOME": str(closed / "config")})
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
