"""Fills the uptime rings as time passes, keeps them across restarts, and stays right when the clock is set.

Time is measured by the steady clock from a point of the wall clock; when the two disagree the wall clock was set, and
counting goes on from its new time. What happened while the daemon was away is taken from the ledger, which workers
complete once they are adopted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec

from appliance.database import Database
from appliance.history.uptime import MS, SHAPES, Chunk, Condition, Ring, condition_of, share, shares
from appliance.model import SessionState
from appliance.model_history import UptimeSpan, UptimeStrip
from appliance.sessions.reasons import ENDED_WITH_ALL

STEP_MS: Final = 2 * MS
"""Both clocks run at the same rate, so a larger difference is a step; a smaller one is not worth a hole in the ring."""
SETTLE_S: Final = 20.0
"""Adopted workers have told by then what happened while the daemon was away."""
TRUST_S: Final = 3600.0
"""Old slots are deleted only when the clock was not set for this long: a wrong year must not empty the rings."""
WEEK_HOURS: Final = 7 * 24


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Time that passed without us, and what the session was when it began."""

    start_ms: int
    end_ms: int
    before: Condition


class _Session:
    def __init__(self, condition: Condition, at_ms: int) -> None:
        self.rings = {span: Ring(shape) for span, shape in SHAPES.items()}
        self.condition = condition
        self.at_ms = at_ms
        self.gap: Gap | None = None

    def count(self, start_ms: int, end_ms: int, condition: Condition) -> None:
        if condition is not Condition.UNWANTED:
            for ring in self.rings.values():
                ring.add(
                    max(start_ms, end_ms - ring.shape.slots * ring.shape.slot_ms),
                    end_ms,
                    online=condition is Condition.ONLINE,
                )


class UptimeRecorder:
    """Call `await load()` once, `observe` on every change of state, `await tick()` about once a minute and at the
    end."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._clock = clock
        self._steady = steady
        self._sessions: dict[str, _Session] = {}
        self._anchor_wall_ms = 0
        self._anchor_steady_ms = 0
        self._stepped_at = 0.0
        self._loaded_at = 0.0

    async def load(self) -> None:
        """Take up what is stored: rings, and what each session was when it was last seen."""
        self._loaded_at = self._stepped_at = self._steady()
        self._set_anchor()
        now = self._anchor_wall_ms
        for row in await self._database.fetch_all("SELECT id, state FROM sessions"):
            self._sessions[row["id"]] = _Session(condition_of(SessionState(row["state"])), now)
        for row in await self._database.fetch_all("SELECT session, condition, at FROM uptime_marks"):
            session = self._sessions.get(row["session"])
            mark_ms = round(row["at"] * MS)
            if session is not None and mark_ms < now:
                session.gap = Gap(start_ms=mark_ms, end_ms=now, before=Condition(row["condition"]))
        for row in await self._database.fetch_all("SELECT session, span, chunk, slots FROM uptime_chunks"):
            session = self._sessions.get(row["session"])
            if session is not None:
                ring = session.rings[UptimeSpan(row["span"])]
                ring.chunks[row["chunk"]] = Chunk.unpack(row["slots"], ring.shape.chunk)

    def observe(self, session: str, state: SessionState) -> None:
        """The session is in this state from now on. Unknown sessions are new ones."""
        condition = condition_of(state)
        known = self._sessions.get(session)
        if known is None:
            self._advance()
            self._sessions[session] = _Session(condition, self._now_ms())
        elif known.condition is not condition:
            self._advance()
            known.condition = condition

    async def tick(self) -> None:
        """Count up to now and store what has changed, in one transaction."""
        self._advance()
        if self._steady() - self._loaded_at >= SETTLE_S:
            await self._fill_gaps()
        expired = self._drop_expired() if self._steady() - self._stepped_at >= TRUST_S else []
        changed = [
            (name, span, number, chunk)
            for name, session in self._sessions.items()
            for span, ring in session.rings.items()
            for number, chunk in ring.dirty()
        ]
        marks = [
            (name, session.condition, session.at_ms / MS)
            for name, session in self._sessions.items()
            if session.gap is None
        ]
        packed = [(name, span, number, chunk.pack()) for name, span, number, chunk in changed]
        for _, _, _, chunk in changed:
            chunk.dirty = False
        try:
            async with self._database.transaction() as connection:
                await connection.executemany(
                    "INSERT OR REPLACE INTO uptime_chunks (session, span, chunk, slots) VALUES (?, ?, ?, ?)", packed
                )
                await connection.executemany("INSERT OR REPLACE INTO uptime_marks VALUES (?, ?, ?)", marks)
                await connection.executemany(
                    "DELETE FROM uptime_chunks WHERE session = ? AND span = ? AND chunk = ?", expired
                )
        except BaseException:
            for _, _, _, chunk in changed:
                chunk.dirty = True
            raise

    async def forget(self, session: str) -> None:
        """The session was removed."""
        self._sessions.pop(session, None)
        async with self._database.transaction() as connection:
            await connection.execute("DELETE FROM uptime_chunks WHERE session = ?", (session,))
            await connection.execute("DELETE FROM uptime_marks WHERE session = ?", (session,))

    def strip(self, session: str, span: UptimeSpan, parts: int | None = None) -> UptimeStrip | None:
        """What a screen draws; None for an unknown session. `parts`: slots to sum up to, a divisor of the span's."""
        known = self._sessions.get(session)
        if known is None:
            return None
        self._advance()
        ring, shape = known.rings[span], SHAPES[span]
        values = ring.values(known.at_ms)
        first = known.at_ms // shape.slot_ms - shape.slots + 1
        width = shape.slots // (parts or shape.slots)
        if width > 1:
            groups = (values[start : start + width] for start in range(0, shape.slots, width))
            values = [(sum(online for online, _ in group), sum(counted for _, counted in group)) for group in groups]
        return UptimeStrip(
            session=session,
            span=span,
            start=first * shape.slot_ms / MS,
            slot_s=width * shape.slot_ms / MS,
            values=shares(values),
            share=share(sum(online for online, _ in values), sum(counted for _, counted in values)),
        )

    @property
    def sessions(self) -> list[str]:
        """Names of all that are known."""
        return sorted(self._sessions)

    def share_of(self, session: str) -> tuple[float | None, float | None, float | None]:
        """Shares online of the last 24 hours (by minutes), 7 days and 30 days (by hours)."""
        self._advance()
        known = self._sessions[session]
        day, month = known.rings[UptimeSpan.DAY], known.rings[UptimeSpan.MONTH]
        return (
            share(*day.totals(known.at_ms, day.shape.slots)),
            share(*month.totals(known.at_ms, WEEK_HOURS)),
            share(*month.totals(known.at_ms, month.shape.slots)),
        )

    def online_s(self, session: str, since: float) -> float:
        """How long it was online since then, by the finest ring that reaches back so far, in whole slots."""
        self._advance()
        known = self._sessions[session]
        for ring in known.rings.values():
            slots = known.at_ms // ring.shape.slot_ms - int(since * MS) // ring.shape.slot_ms + 1
            if slots <= ring.shape.slots:
                break
        return ring.totals(known.at_ms, max(1, min(slots, ring.shape.slots)))[0] / MS

    # ---- time -------------------------------------------------------------------------------------------------------

    def _set_anchor(self) -> None:
        self._anchor_wall_ms = round(self._clock() * MS)
        self._anchor_steady_ms = round(self._steady() * MS)

    def _now_ms(self) -> int:
        return self._anchor_wall_ms + round(self._steady() * MS) - self._anchor_steady_ms

    def _advance(self) -> None:
        """Count every session up to now, then follow the wall clock if it was set."""
        now = self._now_ms()
        for session in self._sessions.values():
            if now > session.at_ms:
                session.count(session.at_ms, now, session.condition)
                session.at_ms = now
        if abs(round(self._clock() * MS) - now) <= STEP_MS:
            return
        self._stepped_at = self._steady()
        self._set_anchor()
        for session in self._sessions.values():
            session.at_ms = self._anchor_wall_ms

    def _drop_expired(self) -> list[tuple[str, UptimeSpan, int]]:
        now = self._now_ms()
        found = []
        for name, session in self._sessions.items():
            for span, ring in session.rings.items():
                for number in ring.expired(now):
                    del ring.chunks[number]
                    found.append((name, span, number))
        return found

    # ---- what happened while we were away ---------------------------------------------------------------------------

    async def _fill_gaps(self) -> None:
        waiting = {name: session.gap for name, session in self._sessions.items() if session.gap is not None}
        if not waiting:
            return
        start = min(gap.start_ms for gap in waiting.values()) / MS
        rows = await self._database.fetch_all(
            "SELECT session, at, back_at, reason FROM disconnections WHERE at >= ? OR back_at >= ? ORDER BY at, id",
            (start, start),
        )
        turns: dict[str, list[tuple[int, Condition]]] = {name: [] for name in waiting}
        for row in rows:
            gap = waiting.get(row["session"])
            if gap is None:
                continue
            # When the box or the fork server went down nobody saw it; nothing of the gap is proved to be uptime.
            unseen = row["reason"] in ENDED_WITH_ALL
            turns[row["session"]].append((gap.start_ms if unseen else round(row["at"] * MS), Condition.OFFLINE))
            if row["back_at"] is not None:
                turns[row["session"]].append((round(row["back_at"] * MS), Condition.ONLINE))
        for name, gap in waiting.items():
            session = self._sessions.get(name)
            if session is None:  # removed meanwhile
                continue
            for begin, end, condition in replay(gap, turns[name]):
                session.count(begin, end, condition)
            session.gap = None


def replay(gap: Gap, turns: list[tuple[int, Condition]]) -> list[tuple[int, int, Condition]]:
    """Cut a gap at the turns that lie within it; turns before it are known already, later ones were seen live."""
    if gap.before is Condition.UNWANTED:
        return []
    pieces: list[tuple[int, int, Condition]] = []
    at = gap.start_ms
    condition: Condition = gap.before
    for moment, after in sorted(turns, key=lambda turn: turn[0]):
        if not gap.start_ms <= moment < gap.end_ms:
            continue
        if moment > at:
            pieces.append((at, moment, condition))
        at = moment
        condition = after
    pieces.append((at, gap.end_ms, condition))
    return pieces
