"""What is set for one session alone: shown as rows, and changed by a line that is typed or by a switch. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Final

import msgspec

from appliance.model import MediaKind, SessionView
from appliance.model_capture import CaptureChange, CaptureView, FetchDeleted
from appliance.model_history import Language, PersonRequest, PersonView
from tui.paint import Ground, Line, Pen, Tone
from tui.scene import Scene
from tui.text import N_, _
from tui.words import size

LABEL: Final = 24
_MB: Final = 1_000_000


class Way(enum.Enum):
    """How a setting is changed."""

    FIXED = enum.auto()
    SWITCH = enum.auto()
    """Enter turns it round."""
    TYPED = enum.auto()


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `value`: as shown; `typed`: as it is typed; `own`: it is this session's own, not that of all."""

    id: str
    label: str
    value: str
    way: Way = Way.FIXED
    typed: str = ""
    hint: str = ""
    own: bool = False


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a session's messages, one field of it. `hint`: how it is typed; `read`: from what was typed."""

    field: str
    label: str
    hint: str = ""
    read: Callable[[str], object] = str


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _megabytes(text: str) -> int:
    return round(float(text.replace(",", ".")) * _MB)


def _number(text: str) -> float:
    return float(text.replace(",", "."))


FACTS: Final = (
    Fact(field="statuses", label=N_("keep statuses")),
    Fact(field="deleted", label=N_("keep deleted messages")),
    Fact(field="view_once", label=N_("keep view-once media")),
    Fact(field="groups", label=N_("in groups, too")),
    Fact(field="copy_to_self", label=N_("copies to the own chat")),
    Fact(field="fetch_deleted", label=N_("fetch media on arrival")),
    Fact(field="kinds", label=N_("kinds"), hint=", ".join(MediaKind), read=_words),
    Fact(field="allow", label=N_("only from"), hint=N_("numbers with country code, with blanks between"), read=_words),
    Fact(field="block", label=N_("never from"), hint=N_("numbers with country code, with blanks between"), read=_words),
    Fact(field="trigger", label=N_("asks for view-once"), hint=N_("words or emoji, with blanks between")),
    Fact(field="keep_hours", label=N_("remembers for"), hint=N_("hours"), read=_number),
    Fact(field="keep_bytes", label=N_("remembers at most"), hint=N_("MB"), read=_megabytes),
    Fact(field="max_media_bytes", label=N_("largest attachment"), hint=N_("MB"), read=_megabytes),
)
_BY_FIELD: Final = {fact.field: fact for fact in FACTS}
PROXY: Final = "proxy"
PERSON: Final = "person"
EMPTY: Final = N_("Empty: as for all sessions.")


def settings(view: SessionView, person: PersonView | None, capture: CaptureView | None) -> list[Setting]:
    """Every row, in order."""
    told = "" if person is None else f"{person.name}, {person.language}, {person.contact}"
    proxies = {None: _("as for all"), "none": _("none: directly")}
    rows = [
        Setting(id="id", label=_("id"), value=view.id),
        Setting(id="name", label=_("name"), value=view.name),
        Setting(id="machine", label=_("machine"), value=view.node_id),
        Setting(id="wanted", label=_("should run"), value=_yes_no(on=view.wanted)),
        Setting(
            id=PROXY,
            label=_("proxy"),
            value=proxies.get(view.proxy, view.proxy or ""),
            way=Way.TYPED,
            hint=_("http://… or socks5://…; none: directly") + ". " + _(EMPTY),
            own=view.proxy is not None,
        ),
        Setting(
            id=PERSON,
            label=_("is told about it"),
            value=told or _("nobody"),
            way=Way.TYPED,
            hint=_("name, language (en or fr), contact (ntfy://…, mailto://…, https://…). Empty: nobody."),
            own=person is not None,
        ),
    ]
    if capture is not None:
        rows += [_row(fact, capture) for fact in FACTS]
    return rows


def _row(fact: Fact, capture: CaptureView) -> Setting:
    value, own = getattr(capture.settings, fact.field), fact.field in capture.own
    if fact.field == "fetch_deleted":
        value = value is FetchDeleted.ON_ARRIVAL
    if isinstance(value, bool):
        return Setting(id=fact.field, label=_(fact.label), value=_yes_no(on=value), way=Way.SWITCH, own=own)
    return Setting(
        id=fact.field,
        label=_(fact.label),
        value=_shown(fact, value),
        way=Way.TYPED,
        typed=_typed(fact, value) if own else "",
        hint=f"{_(fact.hint)}. {_(EMPTY)}",
        own=own,
    )


def _yes_no(*, on: bool) -> str:
    return _("yes") if on else _("no")


def _shown(fact: Fact, value: Any) -> str:
    if fact.read is _megabytes:
        return size(value)
    if fact.read is _number:
        return _("{count:g} hours").format(count=value)
    if value == tuple(MediaKind):
        return _("all")
    if fact.read is _words:
        return ", ".join(value) or ("–" if fact.field == "block" else _("anybody"))
    return str(value) or "–"


def _typed(fact: Fact, value: Any) -> str:
    """As somebody would type it."""
    if fact.read is _megabytes:
        return f"{value / _MB:g}"
    if fact.read is _words:
        return " ".join(value)
    return f"{value:g}" if fact.read is _number else str(value)


def switched(field: str, capture: CaptureView) -> CaptureChange:
    """The change that turns a switch round."""
    value = getattr(capture.settings, field)
    if field == "fetch_deleted":
        turned = FetchDeleted.ON_DELETION if value is FetchDeleted.ON_ARRIVAL else FetchDeleted.ON_ARRIVAL
        return CaptureChange(fetch_deleted=turned)
    return msgspec.convert({field: not value}, CaptureChange)


def typed_change(field: str, text: str) -> CaptureChange:
    """The change that somebody has typed; empty: as for all sessions. Raises ValueError with what is wrong."""
    fact = _BY_FIELD[field]
    try:
        value = fact.read(text) if text else None
        return msgspec.convert({field: value}, CaptureChange)
    except (ValueError, msgspec.ValidationError) as error:
        raise ValueError(f"{_(fact.label)}: {error}") from error


def typed_proxy(text: str) -> str | None:
    """As the API wants it: None: as for all, empty: none at all."""
    return None if not text else "" if text == "none" else text


def typed_person(text: str) -> PersonRequest:
    """`Awa, fr, ntfy://…`. Raises ValueError with what is wrong."""
    parts = [part.strip() for part in text.split(",", 2)]
    if len(parts) < len(("name", "language", "contact")):
        raise ValueError(_("It takes three things with commas between: name, language, contact."))
    name, language, contact = parts
    try:
        return msgspec.convert({"name": name, "language": language, "contact": contact}, PersonRequest)
    except msgspec.ValidationError as error:
        known = ", ".join(Language)
        raise ValueError(f"{error}. {_('Languages: {known}').format(known=known)}") from error


def setting_line(row: Setting, scene: Scene, width: int, *, chosen: bool) -> Line:
    """Sign of what is this session's own, label, value, and how it is changed if the cursor is there."""
    glyphs = scene.glyphs
    pen = Pen(glyphs).put(glyphs.cursor if chosen else " ", Tone.ACCENT)
    pen.put(glyphs.mark if row.own else " ", Tone.ACCENT).put(" ").cell(row.label, LABEL, Tone.DIM)
    ways = {Way.FIXED: "", Way.SWITCH: _("⏎ turns it round"), Way.TYPED: _("⏎ changes it")}
    way = ways[row.way] if chosen else ""
    pen.cell(row.value, max(8, width - LABEL - 3 - 20), Tone.TEXT if row.way is not Way.FIXED else Tone.DIM)
    return pen.put(f" {way}", Tone.KEY).line(width, Ground.CURSOR if chosen else Ground.PLAIN)
