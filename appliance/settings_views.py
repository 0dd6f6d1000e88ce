"""Settings as people and programs are shown them: value, where it comes from, when a change of it takes effect.

When it does is part of what a setting is: a new one that is not named here needs a restart of the daemon, which is
the safe thing to say.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Meta

from appliance.config import PREFIX, SECTIONS, LoadedSettings, Settings
from appliance.model_api import SettingChange, SettingSource, SettingView
from appliance.model_capture import CaptureSettings

_LIVE_SECTIONS: Final = frozenset(
    {"capture", "compression", "pairing", "keepalive", "reconnect", "fleet", "history", "alerts", "webhooks", "log"}
)
"""Every setting of these takes effect at once, in whatever process needs it."""
_CHANGES: Final[dict[str, SettingChange]] = {
    "paths.state_dir": SettingChange.APPLIANCE,
    "paths.run_dir": SettingChange.APPLIANCE,
    "network.staging": SettingChange.APPLIANCE,
    "network.proxy": SettingChange.SESSION,
    "engine.library": SettingChange.DAEMON,
    "redis.url": SettingChange.DAEMON,
    "redis.own": SettingChange.APPLIANCE,
    **dict.fromkeys(
        (
            "storage.quota_bytes",
            "storage.session_quota_bytes",
            "storage.high_water",
            "storage.low_water",
            "storage.prune_mode",
            "storage.prune_interval_s",
            "storage.keep_days_statuses",
            "storage.keep_days_deleted",
            "storage.keep_days_view_once",
            "storage.spool_bytes",
        ),
        SettingChange.LIVE,
    ),
    **dict.fromkeys(
        (f"backup.{key}" for key in ("media", "keep_daily", "keep_weekly", "keep_monthly", "verify_days")),
        SettingChange.LIVE,
    ),
    "limits.sessions": SettingChange.LIVE,
    "limits.worker_memory_bytes": SettingChange.SESSION,
    "limits.heartbeat_s": SettingChange.SESSION,
    "limits.events_kept": SettingChange.LIVE,
}
NEEDS: Final[dict[SettingChange, str]] = {
    SettingChange.LIVE: "takes effect at once",
    SettingChange.SESSION: "takes effect when a session starts the next time: amda session restart ID",
    SettingChange.DAEMON: "needs a restart of the daemon, which disconnects nobody",
    SettingChange.APPLIANCE: "needs a restart of the whole appliance",
}
"""What has to happen after a change; the end of a sentence that names the setting."""
_CAPTURE_DESCRIPTIONS: Final = {
    "statuses": "Keep statuses.",
    "deleted": "Keep messages that their sender deletes.",
    "view_once": "Keep view-once media, as far as WhatsApp delivers it.",
    "groups": "Whether deleted messages and view-once media of groups are kept as well.",
    "kinds": "Kinds of media that are kept.",
    "allow": "If not empty: only what these contacts and groups send is kept; numbers with country code, or ids.",
    "block": "Contacts and groups of whom nothing is kept.",
    "trigger": "Words or emoji, separated by blanks: the reply by which the owner asks for a view-once message.",
    "fetch_deleted": "When media that may be deleted later is fetched: on_deletion or on_arrival.",
    "copy_to_self": "Send what is captured to the account's own chat as well.",
    "keep_hours": "How long a message is remembered in case it is deleted.",
    "keep_bytes": "Bytes of remembered messages, and of media fetched on arrival, per session.",
    "max_media_bytes": "Larger attachments are noted, not fetched.",
    "parallel_downloads": "Downloads at the same time per session.",
    "min_free_bytes": "With less free disk no media is fetched any more until there is room again.",
}
"""The struct is part of the wire protocol and carries no descriptions of its own."""


def change_of(section: str, key: str) -> SettingChange:
    """When a change of a setting takes effect."""
    if section in _LIVE_SECTIONS:
        return SettingChange.LIVE
    return _CHANGES.get(f"{section}.{key}", SettingChange.DAEMON)


def differences(before: Settings, after: Settings) -> list[tuple[str, str]]:
    """(section, key) of every setting with another value."""
    return [
        (section, key)
        for section, struct in SECTIONS.items()
        for key in struct.__struct_fields__
        if getattr(getattr(before, section), key) != getattr(getattr(after, section), key)
    ]


def with_values_of(settings: Settings, other: Settings, names: list[tuple[str, str]]) -> Settings:
    """`settings` with the values that `other` has of the named ones. Raises ValueError if they contradict the rest."""
    for section, key in names:
        part = msgspec.structs.replace(getattr(settings, section), **{key: getattr(getattr(other, section), key)})
        settings = msgspec.structs.replace(settings, **{section: part})
    return settings


def describe(settings: Settings, loaded: LoadedSettings | None = None) -> Iterator[SettingView]:
    """Every setting in order. No secret is among them: a URL's password is replaced, and what is marked as secret is
    shown as dots. `loaded`: where they come from, and what the file says now if that is not in force yet."""
    waiting = set() if loaded is None else set(differences(settings, loaded.settings))
    for section, struct in SECTIONS.items():
        hints = typing.get_type_hints(struct, include_extras=True)
        current = getattr(settings, section)
        for key, hint in hints.items():
            yield SettingView(
                section=section,
                key=key,
                value=_shown(getattr(current, key), hint),
                variable=f"{PREFIX}{section}_{key}".upper(),
                description=_CAPTURE_DESCRIPTIONS[key] if struct is CaptureSettings else _description(hint),
                source=None if loaded is None else _source(loaded, f"{section}.{key}"),
                change=change_of(section, key),
                waits=(section, key) in waiting,
            )


def secret_settings(loaded: LoadedSettings) -> list[str]:
    """What in the settings file nobody else may read, as `section.key`: secrets, and URLs with a password."""
    found = []
    for name in sorted(loaded.from_file):
        section, _, key = name.partition(".")
        value = getattr(getattr(loaded.settings, section), key)
        hint = typing.get_type_hints(SECTIONS[section], include_extras=True)[key]
        texts = [one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, str)]
        if (value and _is_secret(hint)) or any(hide_password(text) != text for text in texts):
            found.append(name)
    return found


def hide_password(url: str) -> str:
    """Replace the password of a URL by dots.

    >>> hide_password("redis://user:secret@localhost/0")
    'redis://user:···@localhost/0'
    """
    scheme, _, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    if not at or ":" not in login:
        return url
    return f"{scheme}://{login.partition(':')[0]}:···@{place}"


def _source(loaded: LoadedSettings, name: str) -> SettingSource:
    if name in loaded.from_environment:
        return SettingSource.ENVIRONMENT
    return SettingSource.FILE if name in loaded.from_file else SettingSource.DEFAULT


def _shown(value: Any, hint: Any) -> Any:
    value = msgspec.to_builtins(value, enc_hook=str)
    if value and _is_secret(hint):
        return "···"
    return hide_password(value) if isinstance(value, str) and "://" in value else value


def _metas(hint: Any) -> list[Meta]:
    return [item for item in getattr(hint, "__metadata__", ()) if isinstance(item, Meta)]


def _is_secret(hint: Any) -> bool:
    return any((item.extra or {}).get("secret", False) for item in _metas(hint))


def _description(hint: Any) -> str:
    return next((item.description for item in reversed(_metas(hint)) if item.description), "")
