"""Facts in few words: states with their sign and tone, what to do, spans of time, sizes."""

from __future__ import annotations

import enum
import re
import time
import unicodedata
from typing import Final

import msgspec

from appliance.model import SessionState, SessionView
from tui.paint import Glyphs, Tone, width_of
from tui.text import N_, _, number

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
AGE_STEP_S: Final = 5
"""Ages below a minute are shown in such steps: exact seconds help nobody, and repainting costs bytes."""
AGE_CELLS: Final = 7
"""What an age takes at most."""
_MASKED: Final = re.compile("·{3,}")


class Concern(enum.IntEnum):
    """How much a session concerns the person who looks; what needs a person comes first."""

    PERSON = 0
    TROUBLE = 1
    MOVING = 2
    FINE = 3
    OFF = 4


class StateWords(msgspec.Struct, frozen=True, kw_only=True):
    """One state for people. `sign`: name of a glyph; `todo`: what to do, with the key that does it, and `short`: the
    same where there is less room."""

    word: str
    sign: str
    tone: Tone
    concern: Concern
    short: str
    todo: str


def _words(word: str, sign: str, tone: Tone, concern: Concern, short: str = "", todo: str = "") -> StateWords:
    return StateWords(word=word, sign=sign, tone=tone, concern=concern, short=short, todo=todo or short)


STATES: Final[dict[SessionState, StateWords]] = {
    SessionState.NEW: _words(
        N_("new"), "open", Tone.INFO, Concern.MOVING, N_("pair it (p)"), N_("not linked yet: pair it (p)")
    ),
    SessionState.QUEUED: _words(N_("queued"), "wait", Tone.INFO, Concern.MOVING, N_("waits its turn (2)")),
    SessionState.PAIRING: _words(
        N_("pairing"), "wait", Tone.INFO, Concern.MOVING, N_("see the code (2)"), N_("type the code (2) on the phone")
    ),
    SessionState.CONNECTING: _words(N_("connecting"), "wait", Tone.INFO, Concern.MOVING),
    SessionState.ONLINE: _words(N_("online"), "ok", Tone.OK, Concern.FINE),
    SessionState.DEGRADED: _words(
        N_("degraded"),
        "half",
        Tone.WARN,
        Concern.TROUBLE,
        N_("restarts by itself"),
        N_("no answer: restarts by itself"),
    ),
    SessionState.RECONNECTING: _words(
        N_("reconnecting"), "half", Tone.WARN, Concern.TROUBLE, N_("redials by itself"), N_("lost: redials by itself")
    ),
    SessionState.COOLING: _words(
        N_("cooling"), "half", Tone.WARN, Concern.TROUBLE, N_("goes on by itself"), N_("pauses by itself; at once: s")
    ),
    SessionState.NEEDS_PAIRING: _words(
        N_("needs pairing"),
        "bad",
        Tone.BAD,
        Concern.PERSON,
        N_("unlinked: pair (p)"),
        N_("the phone unlinked it: pair it (p)"),
    ),
    SessionState.REPLACED: _words(
        N_("replaced"),
        "bad",
        Tone.BAD,
        Concern.PERSON,
        N_("end its other copy"),
        N_("end its other copy, then start (s)"),
    ),
    SessionState.BANNED: _words(
        N_("banned"), "bad", Tone.BAD, Concern.PERSON, N_("see the phone"), N_("refused: the phone says why")
    ),
    SessionState.OUTDATED: _words(
        N_("outdated"), "bad", Tone.BAD, Concern.PERSON, N_("upgrade the engine"), N_("run: amda engine upgrade")
    ),
    SessionState.STOPPED: _words(N_("stopped"), "off", Tone.DIM, Concern.OFF, N_("start it (s)")),
    SessionState.FAILED: _words(
        N_("failed"), "bad", Tone.BAD, Concern.PERSON, N_("see its log (l)"), N_("read its log (l), then start (s)")
    ),
}


REASONS: Final = {
    "socket_closed": N_("network closed"),
    "server_error": N_("server error"),
    "login_closed": N_("closed at login"),
    "dial_failed": N_("not reached"),
    "login_timeout": N_("login too slow"),
    "proxy_unusable": N_("proxy unusable"),
    "half_open": N_("half-open"),
    "silent_reconnect": N_("silent reconnect"),
    "engine_ended": N_("engine ended"),
    "loop_blocked": N_("process blocked"),
    "process_silent": N_("process silent"),
    "start_failed": N_("start failed"),
    "memory": N_("memory limit"),
    "restart_required": N_("restart required"),
    "replaced": N_("replaced"),
    "device_removed": N_("removed by phone"),
    "account_locked": N_("account locked"),
    "account_banned": N_("account banned"),
    "temporary_ban": N_("temporary ban"),
    "outdated": N_("engine outdated"),
    "unknown_refusal": N_("unknown refusal"),
    "crash": N_("crashed"),
    "fork_server_lost": N_("fork server lost"),
    "found_ended": N_("was not running"),
    "ended_outside": N_("ended outside"),
    "stopped": N_("stopped"),
    "restarted": N_("restarted"),
    "moved": N_("moved"),
    "superseded": N_("linked anew"),
}
"""Why a session was disconnected, as a label of a chart; the ledger has whole sentences."""


def reason_word(reason: str) -> str:
    """The short name of a reason; of a newer release's: its own."""
    return _(REASONS.get(reason, reason.replace("_", " ")))


def sign_of(state: SessionState, glyphs: Glyphs) -> str:
    sign: str = getattr(glyphs, STATES[state].sign)
    return sign


def needs_person(view: SessionView) -> bool:
    return STATES[view.state].concern is Concern.PERSON


def is_problem(view: SessionView) -> bool:
    """Whether the toggle for problems shows it: it needs a person, or it should run and does not."""
    concern = STATES[view.state].concern
    return concern in (Concern.PERSON, Concern.TROUBLE) or (concern is Concern.MOVING and view.wanted)


def lasting(seconds: float) -> str:
    """How long something has lasted, in at most `AGE_CELLS`: `12 s`, `4 min`, `2 h 10`, `3 d 4`."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return _("{count} s").format(count=whole)
    if whole < _HOUR:
        return _("{count} min").format(count=whole // _MINUTE)
    if whole < _DAY:
        return _("{hours} h {minutes:02}").format(hours=whole // _HOUR, minutes=whole % _HOUR // _MINUTE)
    return _("{days} d {hours}").format(days=whole // _DAY, hours=whole % _DAY // _HOUR)


def age(seconds: float) -> str:
    """How long ago something was, in steps that do not change at every look."""
    if seconds < AGE_STEP_S:
        return _("now")
    if seconds < _MINUTE:
        return lasting(int(seconds) // AGE_STEP_S * AGE_STEP_S)
    if seconds < _DAY:
        return lasting(seconds // _MINUTE * _MINUTE)
    return lasting(seconds)


def roughly(seconds: float) -> str:
    """How long ago something was, in one unit and so at most six cells: `59 min`, `13 h`, `364 d`."""
    whole = max(0, int(seconds))
    if whole < _HOUR:
        return age(whole)
    if whole < _DAY:
        return _("{count} h").format(count=whole // _HOUR)
    return _("{count} d").format(count=whole // _DAY)


def age_in(seconds: float, room: int) -> str:
    """How long ago something was, as exactly as a column has room for."""
    words = age(seconds)
    return words if width_of(words) <= room else roughly(seconds)


def since(at: float | None, now: float, room: int = AGE_CELLS) -> str:
    return "–" if at is None else age_in(now - at, room)


def shorter(phone: str, room: int) -> str:
    """A masked number with less of what is masked, where there is less room: `+22177··12`."""
    return phone if width_of(phone) <= room else _MASKED.sub("··", phone)


def duration(seconds: float | None) -> str:
    """A measured time: with tenths while they matter."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return _("{count} s").format(count=number(seconds, 1))
    return lasting(seconds)


def size(count: int) -> str:
    """Bytes in at most seven cells, as people read them."""
    value = float(count)
    for unit in (N_("B"), N_("kB"), N_("MB")):
        if value < 999.5:
            return f"{value:.0f} {_(unit)}"
        value /= 1000
    gigabytes = _("GB")
    return f"{number(value, 1)} {gigabytes}"


def percent(share: float) -> str:
    """Never 100 % while something is missing."""
    shown = 100 * share
    return f"{number(99.9 if shown >= 99.95 else shown, 1)} %" if shown < 100 else "100 %"


def clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def moment(at: float, now: float) -> str:
    """A time of day, with its date unless it is today's."""
    then = time.localtime(at)
    return time.strftime("%H:%M:%S" if then[:3] == time.localtime(now)[:3] else _("%d.%m. %H:%M"), then)


def todo(view: SessionView, room: int) -> str:
    """What to do about a session, in the room there is; empty: nothing."""
    words = STATES[view.state]
    long = _(words.todo)
    return long if width_of(long) <= room else _(words.short)


def collation(name: str) -> str:
    """What names are sorted by: letters with accents stand beside those without."""
    return "".join(
        letter for letter in unicodedata.normalize("NFD", name.casefold()) if not unicodedata.combining(letter)
    )
