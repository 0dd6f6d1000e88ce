"""Settings: one TOML file and environment variables become frozen, typed structs.

Every value can be overridden by `AMDA_<SECTION>_<KEY>` (for example `AMDA_PATHS_STATE_DIR`). A key that does not exist
or a value of the wrong type is an error of one line that names the place, the field and the remedy. The description of
each field is part of its type, so that `amda config show` can print it.
"""

from __future__ import annotations

import difflib
import enum
import os
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from appliance.api.settings import ApiSettings
from appliance.backup.settings import BackupSettings
from appliance.history.settings import AlertSettings, HistorySettings
from appliance.media.compression.settings import CompressionSettings
from appliance.media.settings import StorageSettings
from appliance.model_capture import CaptureSettings
from appliance.places import API_SOCKET, CONFIG_VARIABLE, default_config_path, default_state_dir
from appliance.sessions.settings import FleetSettings, KeepaliveSettings, ReconnectSettings
from appliance.webhooks.settings import WebhookSettings

PREFIX: Final = "AMDA_"


class ConfigError(Exception):
    """The settings cannot be used. `str()` is one line: where, which field, what is wrong, what to do."""


class LogFormat(enum.StrEnum):
    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


class LogLevel(enum.StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    state_dir: Annotated[Path, Meta(description="Databases, sessions, media; readable by the appliance only.")]
    run_dir: Annotated[Path, Meta(description="Sockets and the lock file; default: run/ in state_dir.")]

    @property
    def database(self) -> Path:
        return self.state_dir / "amda.db"

    @property
    def sessions(self) -> Path:
        return self.state_dir / "sessions"

    @property
    def backups(self) -> Path:
        return self.state_dir / "backups"

    @property
    def api_socket(self) -> Path:
        return self.run_dir / API_SOCKET

    @property
    def fork_socket(self) -> Path:
        return self.run_dir / "fork.sock"

    @property
    def redis_socket(self) -> Path:
        return self.run_dir / "redis.sock"

    @property
    def lock_file(self) -> Path:
        return self.run_dir / "daemon.lock"


class Network(msgspec.Struct, frozen=True, kw_only=True):
    staging: Annotated[
        Path | None, Meta(description="Folder of a staging network to use instead of WhatsApp; empty: WhatsApp itself.")
    ] = None
    proxy: Annotated[
        str | None,
        Meta(description="http:// or socks5:// URL that every connection to WhatsApp takes; never bypassed."),
    ] = None


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    library: Annotated[
        Path | None, Meta(description="Shared library of the engine; empty: the one that came with the appliance.")
    ] = None


class Upgrade(msgspec.Struct, frozen=True, kw_only=True):
    url: Annotated[
        str | None,
        Meta(description="https:// folder in which releases are published, with their signed list; empty: none."),
    ] = None
    signers: Annotated[
        Path | None, Meta(description="File of the keys that may sign them (ssh-keygen: allowed signers, for amda).")
    ] = None

    def __post_init__(self) -> None:
        if (self.url is None) != (self.signers is None):
            raise ValueError("url and signers belong together: what is not signed is not installed")


class Redis(msgspec.Struct, frozen=True, kw_only=True):
    url: Annotated[
        str | None, Meta(description="redis:// or unix:// URL; empty: the appliance's own, redis.sock in run_dir.")
    ] = None
    own: Annotated[bool, Meta(description="Whether `amda run` starts a private Redis server.")] = True
    user: Annotated[str | None, Meta(description="User name; empty: that of the URL, or none.")] = None
    password_file: Annotated[Path | None, Meta(description="File with the user's password and nothing else.")] = None


class Pairing(msgspec.Struct, frozen=True, kw_only=True):
    country: Annotated[
        str | None,
        Meta(
            pattern="^[A-Z]{2}$", description="Two-letter country for numbers without +; empty: a + number is required."
        ),
    ] = None
    slots: Annotated[
        int,
        Meta(
            ge=0, le=16, description="Links under way at the same time, most only wait for a human; 0: by free memory."
        ),
    ] = 0
    heavy: Annotated[Count, Meta(description="How many of them may log in for the first time at once.")] = 2
    """Keys and history: the peak of memory and disk. Two keep two cores busy."""
    tries: Annotated[
        int, Meta(ge=1, le=5, description="How often a code is asked for while none has been shown yet.")
    ] = 3
    job_limit_s: Annotated[Seconds, Meta(description="An attempt ends within this many seconds, come what may.")] = 300
    lock_s: Annotated[
        Seconds, Meta(description="Expiry of the lock of an attempt; it is extended while work goes on.")
    ] = 15
    code_wait_s: Annotated[Seconds, Meta(description="How long WhatsApp may take to hand out a code.")] = 30
    """Measured: 1 s, some seconds when sixteen begin at once on two cores; what takes longer hangs."""
    code_interval_s: Annotated[Seconds, Meta(description="One session is shown a code once in so many seconds.")] = 600
    number_interval_s: Annotated[Seconds, Meta(description="As code_interval_s, for one phone number.")] = 600
    appliance_codes: Annotated[Count, Meta(description="Codes that the appliance shows within an hour.")] = 600
    """Ten for each of sixty users; beyond, something asks in a loop, and WhatsApp would punish the address."""
    cooldown_s: Annotated[
        Seconds, Meta(description="A number that WhatsApp refuses codes (429) rests this long; doubled each time …")
    ] = 1800
    cooldown_longest_s: Annotated[Seconds, Meta(description="… up to this.")] = 86_400
    confirm_wait_s: Annotated[
        Seconds, Meta(description="How long the first login may take once the phone has accepted.")
    ] = 60


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    sessions: Annotated[Count, Meta(description="Sessions that may exist.")] = 100
    worker_memory_bytes: Annotated[
        int, Meta(ge=64 << 20, description="Address space that a session's process may fill with data.")
    ] = 400 << 20
    heartbeat_s: Annotated[Seconds, Meta(description="How often a session's process reports.")] = 5
    request_bytes: Annotated[int, Meta(ge=1024, description="Largest body of an API request.")] = 64 << 10
    request_s: Annotated[Seconds, Meta(description="An API request that takes longer is given up.")] = 120
    events_kept: Annotated[Count, Meta(description="Events kept for subscribers that come back.")] = 10_000


class Log(msgspec.Struct, frozen=True, kw_only=True):
    level: Annotated[LogLevel, Meta(description="debug, info, warning or error.")] = LogLevel.INFO
    format: Annotated[LogFormat, Meta(description="console, json, or auto: console on a terminal, json otherwise.")] = (
        LogFormat.AUTO
    )


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, complete: defaults are filled in and folders are absolute."""

    paths: Paths
    network: Network
    engine: Engine
    redis: Redis
    storage: StorageSettings
    backup: BackupSettings
    compression: CompressionSettings
    capture: CaptureSettings
    pairing: Pairing
    keepalive: KeepaliveSettings
    reconnect: ReconnectSettings
    fleet: FleetSettings
    history: HistorySettings
    alerts: AlertSettings
    webhooks: WebhookSettings
    limits: Limits
    upgrade: Upgrade
    api: ApiSettings
    log: Log

    @property
    def redis_url(self) -> str:
        """URL of the Redis to use: the configured one, otherwise the appliance's own socket."""
        return self.redis.url or f"unix://{self.paths.redis_socket}"


SECTIONS: Final[dict[str, type[msgspec.Struct]]] = {
    "paths": Paths,
    "network": Network,
    "engine": Engine,
    "redis": Redis,
    "storage": StorageSettings,
    "backup": BackupSettings,
    "compression": CompressionSettings,
    "capture": CaptureSettings,
    "pairing": Pairing,
    "keepalive": KeepaliveSettings,
    "reconnect": ReconnectSettings,
    "fleet": FleetSettings,
    "history": HistorySettings,
    "alerts": AlertSettings,
    "webhooks": WebhookSettings,
    "limits": Limits,
    "upgrade": Upgrade,
    "api": ApiSettings,
    "log": Log,
}


class LoadedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings, and where they come from: names are `section.key`; what is in neither set is a default."""

    settings: Settings
    file: Path
    found: bool
    """Whether the file exists."""
    from_file: frozenset[str]
    from_environment: frozenset[str]


def load_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """As `read_settings`, the settings alone."""
    return read_settings(path, environ).settings


def read_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> LoadedSettings:
    """Read settings from `path` (default: see `default_config_path`; it may be missing) and the environment.

    Raises `ConfigError` with one line that names the place, the field and the remedy; a file that was named by the
    caller or by `AMDA_CONFIG` must exist.
    """
    environ = os.environ if environ is None else environ
    must_exist = path is not None or CONFIG_VARIABLE in environ
    file = (path or default_config_path(environ)).absolute()
    return parse_settings(_read_file(file, must_exist=must_exist), file, environ)


def parse_settings(text: str | None, file: Path, environ: Mapping[str, str]) -> LoadedSettings:
    """The same from the text that is, or may become, the content of `file`; None: there is no such file."""
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    from_file, from_environment = set(), set()
    for section, table in _parse_toml(text or "", file).items():
        _check_known(section, SECTIONS, str(file), "section")
        if not isinstance(table, dict):
            raise ConfigError(f"{file}: {section} must be a section: write [{section}] on a line of its own")
        for key, value in table.items():
            kind = field_type(section, key, str(file))
            values[section][key] = _convert(value, kind, f"{file}: {section}.{key}", strict=True)
            from_file.add(f"{section}.{key}")
    for variable, section, key in _overrides(environ):
        values[section][key] = value_from_text(section, key, environ[variable], variable)
        from_environment.add(f"{section}.{key}")
    _fill_folders(values, environ)
    return LoadedSettings(
        settings=Settings(**{section: _build(section, values[section]) for section in SECTIONS}),
        file=file,
        found=text is not None,
        from_file=frozenset(from_file),
        from_environment=frozenset(from_environment),
    )


def given_by(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Section and key of each setting that the variables override, in order. Names that are not known are among them:
    reading them says what is wrong."""
    return [(section, key) for _, section, key in _overrides(environ)]


def value_from_text(section: str, key: str, text: str, place: str) -> Any:
    """A value as it is written in a variable or on a command line. Raises ConfigError that names `place`."""
    kind = field_type(section, key, place)
    return _convert(_from_text(text, kind), kind, place, strict=False)


def _build(section: str, values: Mapping[str, Any]) -> Any:
    """One section complete. Raises ConfigError for values that are good alone and contradict each other."""
    try:
        return SECTIONS[section](**values)
    except ValueError as error:
        raise ConfigError(f"{section}: {error}") from error


def _read_file(file: Path, *, must_exist: bool) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        if must_exist:
            raise ConfigError(f"{file}: no such file; create it or name another one with --config") from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}; check its owner, mode and encoding (UTF-8)") from error


def _parse_toml(text: str, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f'{file}: not valid TOML: {error}; values look like key = 5 or key = "text"') from error


def _overrides(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Variables that speak of one of our sections. `AMDA_<word>_…` of other words belongs to somebody else."""
    for variable in sorted(environ):
        if variable == CONFIG_VARIABLE or not variable.startswith(PREFIX):
            continue
        section, _, key = variable[len(PREFIX) :].lower().partition("_")
        if key and section in SECTIONS:
            yield variable, section, key


def _check_known(name: str, known: Mapping[str, Any], place: str, what: str) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"remove it, or use one of: {', '.join(known)}"
    raise ConfigError(f"{place}: {what} {name} is not known; {remedy}")


def field_type(section: str, key: str, place: str) -> Any:
    """The annotated type of a field. Raises ConfigError, which names `place` and what may have been meant."""
    _check_known(section, SECTIONS, place, "section")
    hints = typing.get_type_hints(SECTIONS[section], include_extras=True)
    _check_known(key, hints, place, f"{section} key")
    return hints[key]


def _from_text(text: str, kind: Any) -> str | list[str] | None:
    """An empty variable means "none" where the field allows it; a list's items are separated by blanks."""
    if typing.get_origin(_bare(kind)) is tuple:
        return text.split()
    return None if text == "" and _allows_none(kind) else text


def _convert(value: Any, kind: Any, place: str, *, strict: bool) -> Any:
    if value == "" and _allows_none(kind):
        return None
    try:
        return msgspec.convert(value, kind, strict=strict, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{place}: {_plain(str(error))}; remedy: correct or remove it") from error


def _plain(error: str) -> str:
    """msgspec's message without its backquotes and its path, which names nothing here."""
    return error.split(" - at ")[0].replace("`", "").replace("Expected", "expected").replace("Invalid", "invalid")


def _decode_path(kind: type, value: Any) -> Any:
    if kind is not Path:
        raise NotImplementedError(f"no conversion to {kind}")
    if not isinstance(value, str) or not value:
        raise msgspec.ValidationError("expected the path of a folder or file, in quotes")
    path = Path(value).expanduser()
    if not path.is_absolute():
        raise msgspec.ValidationError(f"{value} is a relative path; write it from / or ~ on")
    return path


def _fill_folders(values: dict[str, dict[str, Any]], environ: Mapping[str, str]) -> None:
    paths, storage, backup = values["paths"], values["storage"], values["backup"]
    if "state_dir" not in paths:
        paths["state_dir"] = default_state_dir(environ)
    paths.setdefault("run_dir", paths["state_dir"] / "run")
    storage.setdefault("path", paths["state_dir"] / "media")
    backup.setdefault("path", paths["state_dir"] / "backups" / "repository")
    backup.setdefault("key_file", paths["state_dir"] / "backups" / "key")


def _allows_none(kind: Any) -> bool:
    return type(None) in typing.get_args(_bare(kind))


def _bare(kind: Any) -> Any:
    """The type without what annotates it."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
