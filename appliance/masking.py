"""Takes phone numbers and secrets out of texts that somebody may read: logs, errors, raw nodes, alerts.

One place for the rule, so that a log line, a ledger row and a message to a person hide the same things. It errs on the
side of hiding: an unknown run of ten digits is taken for a number.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from appliance.model import mask_phone

_ADDRESS: Final = re.compile(r"(?<!\w)\+?(\d{5,20})(?:[.:_]\d{1,6})*@(?=[a-z])")
"""User part of a WhatsApp address, with or without agent and device; also the hidden ones (@lid)."""
_PLUS: Final = re.compile(r"\+\d[\d ().\-\u00a0]{5,20}\d")
"""An international number as people write it."""
_BARE: Final = re.compile(r"(?<![\w.:+·-])\d{10,15}(?![\w.:-]|\.\d)")
"""Digits alone, as long as a number with country code; ids of messages hold letters, and times in seconds with a
fraction a dot."""
_URL: Final = re.compile(r"\b[A-Za-z][A-Za-z0-9+.\-]{1,30}://[^\s\"'<>]+")
_SECRET_WORD: Final = re.compile(
    r"(?i)\b(password|passwd|secret|token|authorization|api[_-]?key|pairing[_ -]?code)"
    r"(\"?\s*[=:]\s*\"?)(?:bearer\s+)?[^\s,;\"}]+"
)
HIDDEN: Final = "···"
SECRET_KEYS: Final = frozenset(
    {"password", "secret", "token", "authorization", "code", "qr", "contact", "target", "webhook_secret", "body"}
)
"""Names of log fields whose value is never written. (WhatsApp's error numbers are called `code` too, and are integers:
those stay.)"""


def mask_numbers(text: str) -> str:
    """The text with every phone number masked.

    >>> mask_numbers("from 221771234512@s.whatsapp.net")
    'from +22177·····12@s.whatsapp.net'
    """
    text = _ADDRESS.sub(lambda found: mask_phone(found[1]) + "@", text)
    text = _PLUS.sub(lambda found: mask_phone("".join(filter(str.isdigit, found[0]))), text)
    return _BARE.sub(lambda found: mask_phone(found[0]), text)


def hide_target(url: str) -> str:
    """What may be shown of an apprise or webhook URL: scheme and host of a web address or a mail account, otherwise the
    scheme alone, since a token may stand anywhere.

    >>> hide_target("https://hooks.example.org/T0/B0/secret")
    'https://hooks.example.org/···'
    >>> hide_target("tgram://123:abc/42")
    'tgram://···'
    """
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in _HOST_SCHEMES or not rest:
        return f"{scheme}://{HIDDEN}"
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return f"{scheme}://{HIDDEN}"
    return f"{scheme}://{host}{port}/{HIDDEN}"


_HOST_SCHEMES: Final = frozenset(
    {"http", "https", "json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos"}
)
"""Schemes of which the part between :// and / is a host's name (and perhaps a login, which is left out)."""


def clean_text(text: str) -> str:
    """The text without numbers, addresses of targets and values that follow a word like "password"."""
    text = _URL.sub(lambda found: hide_target(found[0]), text)
    return mask_numbers(_SECRET_WORD.sub(rf"\1\2{HIDDEN}", text))


def clean_value(value: Any) -> Any:
    """The same for a value of a log line: strings, and strings within lists and mappings."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {key: clean_field(str(key), entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [clean_value(entry) for entry in value]
    return value


def clean_field(name: str, value: Any) -> Any:
    """The same for a named value: secret by its name, or cleaned."""
    if name.lower() in SECRET_KEYS and not isinstance(value, (int, float)) and value is not None:
        return HIDDEN
    return clean_value(value)
