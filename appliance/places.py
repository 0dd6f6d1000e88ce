"""Where settings and state lie unless somebody says otherwise, and how a client finds the daemon's socket.

Apart from `appliance.config`, because a terminal interface that has to be there within half a second cannot load what
every setting of every room needs; both go by the functions here.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

CONFIG_VARIABLE: Final = "AMDA_CONFIG"
"""Names another settings file than the default one."""
SYSTEM_CONFIG: Final = Path("/etc/amda/amda.toml")
"""Of the appliance that is installed on this machine; its group may read it."""
API_SOCKET: Final = "api.sock"


class PlaceError(Exception):
    """The settings file does not say where the socket is; one line."""


def default_config_path(environ: Mapping[str, str] | None = None) -> Path:
    """The settings file that is read when none is named: `AMDA_CONFIG`, /etc for root; for everyone else the own one
    by XDG, otherwise that in /etc for those who may read it."""
    environ = os.environ if environ is None else environ
    if named := environ.get(CONFIG_VARIABLE):
        return Path(named).expanduser()
    own = xdg(environ, "XDG_CONFIG_HOME", ".config") / "amda" / "amda.toml"
    if os.geteuid() == 0 or (not os.access(own, os.F_OK) and os.access(SYSTEM_CONFIG, os.R_OK)):
        return SYSTEM_CONFIG
    return own


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """Where everything is kept when no setting says it."""
    return Path("/var/lib/amda") if os.geteuid() == 0 else xdg(environ, "XDG_STATE_HOME", ".local/state") / "amda"


def xdg(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    """Base folder by the XDG specification: relative values are to be ignored."""
    value = environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / fallback


def demo_folder() -> Path:
    """Where `amda demo` works unless it is told otherwise: beside the package, that is in the checkout."""
    return Path(__file__).resolve().parents[1] / "demo"


def running_demo() -> Path | None:
    """The settings file of a demo that runs in this checkout: who tries it in a second terminal means that one."""
    folder = demo_folder()
    return folder / "amda.toml" if (folder / "run" / API_SOCKET).is_socket() else None


def api_socket(config: Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """The daemon's socket, by the settings that the daemon itself goes by. Raises PlaceError.

    Only what says where the socket is gets read; `amda config show` complains about everything else.
    """
    environ = os.environ if environ is None else environ
    if config is None and CONFIG_VARIABLE not in environ:
        config = running_demo()
    file = default_config_path(environ) if config is None else config
    must_exist = config is not None or CONFIG_VARIABLE in environ
    paths = _paths_of(file, must_exist=must_exist)
    state = environ.get("AMDA_PATHS_STATE_DIR") or paths.get("state_dir")
    run = environ.get("AMDA_PATHS_RUN_DIR") or paths.get("run_dir")
    if run:
        return Path(run).expanduser() / API_SOCKET
    return (Path(state).expanduser() if state else default_state_dir(environ)) / "run" / API_SOCKET


def _paths_of(file: Path, *, must_exist: bool) -> Mapping[str, Any]:
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise PlaceError(f"{file}: no such file; create it or name another one with --config") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise PlaceError(f"{file}: cannot be read: {error}; check its owner, mode and encoding (UTF-8)") from error
    except tomllib.TOMLDecodeError as error:
        raise PlaceError(f"{file}: not valid TOML: {error}") from error
    paths = tables.get("paths", {})
    if not isinstance(paths, dict) or not all(isinstance(value, str) for value in paths.values()):
        raise PlaceError(f"{file}: paths must be a section of folders: run amda config show, it says what is wrong")
    return paths
