"""How a linking attempt can end, and the words that tell its user why and what to do: one table for everybody."""

from __future__ import annotations

from typing import Final

import msgspec

from appliance.model import PairingState, Problem
from appliance.protocol import PairFailed

STEPS: Final = {
    PairingState.QUEUED: "waiting in the queue",
    PairingState.STARTING: "asking WhatsApp for a code",
    PairingState.WAITING: "its code is on the screen",
    PairingState.CONFIRMING: "the phone has accepted",
}
"""What an attempt that has no end yet is at."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The final state of an attempt that did not succeed, in plain words."""

    state: PairingState
    reason: str
    remedy: str
    counts: bool = False
    """Whether a code that was shown counts against its user's limit: only if the reason is the user's."""
    again: bool = False
    """Whether asking again at once makes sense, as long as no code was shown."""
    cool: bool = False
    """WhatsApp wants the number to rest."""


SILENCE: Final = Ending(
    state=PairingState.EXPIRED,
    reason="The code was shown, but nothing valid came from the phone before it expired. It was not typed, or it was"
    " typed wrong, or the phone showed a passkey prompt: from here the three look alike.",
    remedy="Ask for a new code and type it at once. If the phone asks for a passkey or a fingerprint while linking:"
    " remove the passkey on the phone (WhatsApp → Settings → Account → Passkeys), then ask for a new code.",
    counts=True,
)
QR_SILENCE: Final = Ending(
    state=PairingState.EXPIRED,
    reason="The QR code was shown, but not scanned in time, or the phone showed a passkey prompt.",
    remedy="Start again and scan it at once: WhatsApp → Linked devices → Link a device. If the phone asks for a"
    " passkey: remove it on the phone (WhatsApp → Settings → Account → Passkeys) first.",
    counts=True,
)
NO_CODE: Final = Ending(
    state=PairingState.FAILED,
    reason="WhatsApp handed out no code in time.",
    remedy="Try again in a minute; amda status says whether WhatsApp can be reached.",
    again=True,
)
TOO_LONG: Final = Ending(
    state=PairingState.EXPIRED,
    reason="The attempt reached its time limit and was ended.",
    remedy="Try again.",
)
CANCELLED: Final = Ending(state=PairingState.CANCELLED, reason="Cancelled.", remedy="", counts=True)
INTERRUPTED: Final = Ending(
    state=PairingState.FAILED,
    reason="The appliance was restarted while this was under way.",
    remedy="Try again: nothing of the attempt is left. If the phone shows the device as linked, remove it there.",
)
WORKER_ENDED: Final = Ending(
    state=PairingState.FAILED,
    reason="The process that was linking ended unexpectedly.",
    remedy="Try again; if it happens again: amda logs ID",
    again=True,
)
CONNECTION_LOST: Final = Ending(
    state=PairingState.FAILED,
    reason="The connection to WhatsApp broke while the code was shown, and the code is dead with it.",
    remedy="Ask for a new code now: this one does not count.",
)
HOLDER_DIED: Final = Ending(
    state=PairingState.FAILED,
    reason="The process that led this attempt died or hung.",
    remedy="Try again; the attempt does not count if no code of it can be alive any more.",
)
CROWDED_OUT: Final = Ending(
    state=PairingState.FAILED,
    reason="Its place in the queue was lost, and another attempt for this session or number has begun since.",
    remedy="Follow the other attempt: amda pairing list",
)
STAYS_WITH_OLD: Final = Ending(
    state=PairingState.FAILED,
    reason="The phone accepted, but the first login did not succeed; the session keeps its former link.",
    remedy="If the phone lists a new device, remove it there (WhatsApp → Linked devices); then try again.",
)
NOT_CONFIRMED: Final = Ending(
    state=PairingState.REFUSED,
    reason="The phone accepted, but WhatsApp refused the first login.",
    remedy="Remove the device on the phone (WhatsApp → Linked devices), then try again.",
)
ALREADY_LINKED: Final = Ending(
    state=PairingState.REFUSED,
    reason="This WhatsApp account is linked to another session of this appliance already.",
    remedy="Use that session, or remove it first: amda session list",
    counts=True,
)
INTERNAL: Final = Ending(
    state=PairingState.FAILED,
    reason="Linking failed for a reason inside the appliance.",
    remedy="Try again; if it happens again, the daemon's log says why.",
)
_PASSKEY: Final = Ending(
    state=PairingState.REFUSED,
    reason="The phone asks for a passkey, which this appliance cannot answer.",
    remedy="Remove the passkey on the phone (WhatsApp → Settings → Account → Passkeys), then ask for a new code.",
)
_DIAL_FAILED: Final = Ending(
    state=PairingState.FAILED,
    reason="WhatsApp could not be reached.",
    remedy="Check the network and the proxy (amda config show), then try again.",
    again=True,
)
_OUTDATED: Final = Ending(
    state=PairingState.FAILED,
    reason="WhatsApp no longer accepts this version of the engine.",
    remedy="Upgrade the engine: amda engine upgrade",
)
_TOO_MANY: Final = Ending(
    state=PairingState.REFUSED,
    reason="WhatsApp refuses more codes for this number for now: too many were asked for (429).",
    remedy="Wait some hours before trying again; every further try prolongs it.",
    cool=True,
)
_BAD_REQUEST: Final = Ending(
    state=PairingState.REFUSED,
    reason="WhatsApp refused to hand out a code for this number (400).",
    remedy="Check that WhatsApp is registered on exactly this number, then try again.",
)
_REFUSED_BY_CODE: Final = {429: _TOO_MANY, 400: _BAD_REQUEST}
_SERVER_TROUBLE: Final = 500
"""From here on WhatsApp speaks of itself, not of the request."""
_PASSING_TROUBLE: Final = frozenset({503, 504})
"""A worker could not be forked, or did not answer."""


def ending_of(failed: PairFailed, *, shown: bool, by_qr: bool, early: bool = False) -> Ending:
    """What a worker's PairFailed means. `shown`: whether a code had been handed to the user; `early`: whether it should
    have lived on."""
    if failed.code in _REFUSED_BY_CODE:
        return _REFUSED_BY_CODE[failed.code]
    match failed.reason:
        case "timeout":
            if not shown:
                return NO_CODE
            return CONNECTION_LOST if early else silence(by_qr=by_qr)
        case "no_answer":
            return NO_CODE
        case "passkey":
            return _PASSKEY
        case "dial_failed":
            return _DIAL_FAILED
        case "outdated":
            return _OUTDATED
    code = "" if failed.code is None else f" ({failed.code})"
    if failed.reason == "refused":
        return Ending(
            state=PairingState.REFUSED,
            reason=f"WhatsApp refused{code}.",
            remedy="Try again later; if it stays: amda logs ID",
            again=failed.code is None or failed.code >= _SERVER_TROUBLE,
        )
    return Ending(
        state=PairingState.FAILED,
        reason=f"Linking failed: {failed.reason.replace('_', ' ')}{code}.",
        remedy="Try again; if it happens again: amda logs ID",
        again=True,
    )


def silence(*, by_qr: bool) -> Ending:
    """A code was shown, and nothing came of it."""
    return QR_SILENCE if by_qr else SILENCE


def of_problem(problem: Problem) -> Ending:
    """The sessions' room could not do its part."""
    return Ending(
        state=PairingState.FAILED,
        reason=problem.detail or problem.title,
        remedy=problem.remedy,
        again=problem.status in _PASSING_TROUBLE,
    )


def lock_lost(why: str) -> Ending:
    """The attempt stopped itself because it could not prove any more that it was the only one."""
    return Ending(
        state=PairingState.FAILED, reason=f"Stopped: {why}.", remedy="Try again in a minute; see: amda status"
    )
