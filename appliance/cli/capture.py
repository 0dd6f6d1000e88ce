"""What is kept of a session's messages, written as KEY=VALUE."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from appliance.cli.common import CommandError, Exit, print_json, print_table
from appliance.cli.storage import parse_size
from appliance.language import N_, _, known

if TYPE_CHECKING:
    from appliance.model_capture import CaptureChange, CaptureView

DEFAULT: Final = "default"
"""As a value: as for all sessions."""
_WORDS: Final = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}
_HELP: Final = N_("See them with: amda session capture ID")


def parse(pairs: Sequence[str]) -> CaptureChange:
    """Raises CommandError that names the key and what its value may be.

    >>> parse(["trigger=.vv 👁", "kinds=image,video", "copy_to_self=yes", "max_media_bytes=16M", "block=default"]).own()
    {'kinds': (<MediaKind.IMAGE: 'image'>, <MediaKind.VIDEO: 'video'>), 'trigger': '.vv 👁', 'copy_to_self': True, \
'max_media_bytes': 16000000}
    """
    from appliance.model_capture import CaptureChange

    hints = typing.get_type_hints(CaptureChange, include_extras=True)
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or key not in hints:
            words = _("{given}: not KEY=VALUE with one of: {keys}").format(given=pair, keys=", ".join(hints))
            raise CommandError(words, _(_HELP), Exit.USAGE)
        values[key] = _value(key, text.strip(), hints[key])
    return CaptureChange(**values)


def _value(key: str, text: str, kind: Any) -> Any:
    if text == DEFAULT:
        return None
    given: Any = text
    if key.endswith("_bytes"):
        given = parse_size(text)
    elif "tuple" in str(kind):
        given = [part.strip() for part in text.split(",") if part.strip()]
    elif bool in typing.get_args(kind):
        given = _WORDS.get(text.lower(), text)
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        told = str(error).split(" - at ", maxsplit=1)[0].replace("`", "")
        raise CommandError(f"{key}={text}: {known(told)}", _(_HELP), Exit.USAGE) from error


def show(view: CaptureView, *, as_json: bool) -> None:
    """Print what holds, and what of it is the session's own."""
    if as_json:
        print_json(view)
        return
    settings = msgspec.to_builtins(view.settings)
    rows = [(key, _text(value), _("this session") if key in view.own else _("all")) for key, value in settings.items()]
    print_table(_("KEY|VALUE|SET FOR"), rows, "")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(map(str, value)) or "-"
    return str(value)
