"""The proof that nothing is lost and nothing twice: the network's journal against what the store gives back.

`due` is what the network itself says a perfect appliance holds; `stored` is read back through the API, byte by byte,
and hashed here. A loss is excused only when the worker was killed within the engine's own acknowledgement window.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from appliance.bench.rig import Rig
from appliance.model import MediaView
from appliance.staging.control_types import CaptureDue, JournalKind

ACK_WINDOW_S: Final = 0.002
"""The engine's receipt and our record race for up to 1 ms (staging-network facts, measured); both clocks are one."""

COMPRESSED: Final = "compressed"
"""The treatment of what is stored with other bytes than it came with."""

Key = tuple[str, str, str]
"""Session, category, message id: what may be stored once."""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict; `lost_ids` names what is missing, for the search that follows."""

    sent: int
    sent_by_kind: dict[str, int]
    stored: int
    sha256_mismatches: int
    lost: int
    lost_in_ack_window: int
    duplicates: int
    not_due: int
    lost_ids: list[str]

    @property
    def perfect(self) -> bool:
        return not (self.sha256_mismatches or self.lost or self.duplicates or self.not_due)


class Due(msgspec.Struct, frozen=True, kw_only=True):
    session: str
    capture: CaptureDue

    @property
    def key(self) -> Key:
        return (self.session, self.capture.category.value, self.capture.message_id)


async def due_captures(rig: Rig, accounts: dict[str, str], *, receipted_only: bool) -> list[Due]:
    """What is due for each session (session → account's phone), in the network's own words."""
    found: list[Due] = []
    for session, phone in accounts.items():
        found += [
            Due(session=session, capture=capture)
            for capture in await rig.staging.captures_due(phone.lstrip("+"))
            if capture.receipted_at is not None or not receipted_only
        ]
    return found


async def wait_stored(rig: Rig, due: Sequence[Due], patience_s: float) -> None:
    """Until everything that is due is in the index, or nothing has come for so long: then the proof says what is
    missing. What is late on a busy machine is not lost."""
    missing = {item.key for item in due}
    after = None
    try:
        async with asyncio.timeout(patience_s) as patience:
            after = (await rig.api.status()).last_event
            missing -= await _indexed(rig, {key[0] for key in missing})
            if not missing:
                return
            async for event in rig.events(after=after, kind="media.stored"):
                patience.reschedule(asyncio.get_running_loop().time() + patience_s)
                missing.discard(
                    (event.session or "", str(event.data.get("category")), str(event.data.get("message_id")))
                )
                if not missing:
                    return
    except TimeoutError:
        return


async def prove(rig: Rig, due: Sequence[Due], kills: Sequence[float] = ()) -> Proof:
    """Read everything back from the store and hold it against what was due.

    `kills`: the moments at which a worker was killed (seconds since the epoch): an item whose receipt left within
    `ACK_WINDOW_S` before one of them, and that is not stored, is counted apart.
    """
    stored: dict[Key, list[MediaView]] = {}
    for session in sorted({item.session for item in due}):
        async for view in rig.api.all_media(session=session):
            stored.setdefault((session, view.category.value, view.message_id), []).append(view)
    wanted = {item.key: item.capture for item in due}
    receipts = await _first_receipts(rig) if kills else {}
    lost, excused, mismatches = [], 0, 0
    for key, capture in wanted.items():
        views = stored.get(key)
        if not views:
            if in_window(receipts.get(capture.message_id), kills):
                excused += 1
            else:
                lost.append(f"{key[0]} {key[1]} {capture.kind.value} {capture.message_id}")
        elif not await _is_whole(rig, views[0], capture.sha256):
            mismatches += 1
    return Proof(
        sent=len(wanted),
        sent_by_kind=dict(Counter(f"{c.category.value}/{c.kind.value}" for c in wanted.values())),
        stored=sum(1 for key in wanted if key in stored),
        sha256_mismatches=mismatches,
        lost=len(lost),
        lost_in_ack_window=excused,
        duplicates=sum(len(views) - 1 for views in stored.values()),
        not_due=sum(1 for key in stored if key not in wanted),
        lost_ids=lost,
    )


async def _is_whole(rig: Rig, view: MediaView, sha256: str) -> bool:
    """Whether the right bytes were downloaded, and those that were stored are there."""
    content = await _content_sha256(rig, view)
    if view.treatment != COMPRESSED and content != sha256:
        return False
    return view.sha256 == sha256 and content == view.stored_sha256


async def _content_sha256(rig: Rig, view: MediaView) -> str:
    digest = hashlib.sha256()
    async for piece in rig.api.media_content(view.id):
        digest.update(piece)
    return digest.hexdigest()


async def _indexed(rig: Rig, sessions: Iterable[str]) -> set[Key]:
    return {
        (session, view.category.value, view.message_id)
        for session in sessions
        async for view in rig.api.all_media(session=session)
    }


async def _first_receipts(rig: Rig) -> dict[str, float]:
    """When the engine first receipted each message: from then on the network will not send it again."""
    receipts: dict[str, float] = {}
    for entry in await rig.staging.whole_journal(kinds=[JournalKind.RECEIPTED]):
        receipts.setdefault(entry.message_id, entry.at)
    return receipts


def in_window(receipted: float | None, kills: Sequence[float]) -> bool:
    """Whether a kill fell so close to a receipt (seconds since the epoch; None: there was none) that it is excused."""
    return receipted is not None and any(abs(kill - receipted) <= ACK_WINDOW_S for kill in kills)
