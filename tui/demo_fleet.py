"""A fleet that exists only here: sessions that lose their connections and come back, link, and store media.

Pure: time and chance are given to it, so that the same seed tells the same story, a day of it in a second if need be.
The figures are shaped like those of a real fleet: most losses heal at once, few sessions cause most of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from appliance.model import (
    ADVICE,
    Category,
    EventView,
    MediaKind,
    MediaView,
    PairingState,
    PairingView,
    PairMethod,
    SessionState,
    SessionView,
)
from appliance.model_api import IntakeState, StatusView
from appliance.model_history import Disconnection

_NAMES: Final = (
    "Awa Binta Cheikh Demba Édith Fatou Gora Hawa Ibra Jeanne Khady Lamine Moussa Ndèye Oumar Penda"
    " Quentin Rokhaya Samba Thérèse Umaru Viviane Woury Xavier Yacine Zeynab Aïssatou Boubacar Coumba"
    " Djibril Élodie Falilou Georgette Habib Inès Jules Kiné Lucie Mariama Nafi Ousmane Paulette Racky"
    " Seynabou Tidiane Ulrich Valérie Wally Yaye Zakaria Abdou Bintou Codou Dieynaba El-Hadj Fanta Gnilane"
    " Henri Idrissa Joséphine"
)
NAMES: Final = tuple(_NAMES.split())
_REMOVED: Final = "The linked device was removed, usually on the phone. Code 401."
_REPLACED: Final = "Another program logged in with this session's credentials. Code 440."
_HALF_OPEN: Final = "WhatsApp no longer answered on an open connection."
_REFUSED: Final = "WhatsApp closed the connection before the login was complete."
"""In the daemon's own words, so that they are translated as its are."""
_REASONS: Final = (
    ("socket_closed", "The connection to WhatsApp was closed.", 41),
    ("server_error", "WhatsApp ended the connection with an error of its own.", 14),
    ("half_open", _HALF_OPEN, 9),
    ("dial_failed", "WhatsApp could not be reached.", 5),
    ("device_removed", "The linked device was removed, usually on the phone.", 2),
)
_DAY_S: Final = 86_400.0
_HISTORY_S: Final = 7 * _DAY_S
_LOSSES_A_DAY: Final = 0.8
"""Of an average session."""
_RESTLESS: Final = 6.0
"""How much more often the few restless sessions lose their connection."""
_CODE_S: Final = 160.0
_TYPING_S: Final = (8.0, 40.0)
_PAIRED_S: Final = 3.0
_LETTERS: Final = "ABCDEFGHJKLMNPQRSTVWXYZ123456789"
_ITEMS: Final = 400
"""Media that can be looked through."""
SLOTS: Final = 24


class Member(msgspec.Struct):
    """A session and what the simulation plans with it."""

    view: SessionView
    restless: float
    next_at: float = 0.0
    next_state: SessionState | None = None
    """What it becomes at `next_at`."""


class Attempt(msgspec.Struct):
    view: PairingView
    next_at: float


class Fleet:
    """`step` lets time pass and returns what happened; the rest reads. `lively`: how much more than usual happens."""

    def __init__(self, count: int = 60, *, seed: int = 1, now: float, lively: float = 1.0) -> None:
        self.now = now
        self.seq = 0
        self.started_at = now - 11 * _DAY_S
        self.members: dict[str, Member] = {}
        self.attempts: dict[str, Attempt] = {}
        self.ledger: list[Disconnection] = []
        self.losses: dict[str, list[Disconnection]] = {}
        """The ledger by session."""
        self._random = random.Random(seed)  # noqa: S311 - a story, not a secret
        self._lively = lively
        for index in range(count):
            self._add(index)
        self._past()
        self.media = [self._item(number) for number in range(_ITEMS if count else 0)]
        self._troubles()

    # ---- time

    def step(self, seconds: float) -> list[EventView]:
        """Let time pass; what happened meanwhile, in order."""
        self.now += seconds
        happened: list[EventView] = []
        for member in self.members.values():
            happened += self._live(member, seconds)
        for attempt in list(self.attempts.values()):
            if attempt.next_at <= self.now and not attempt.view.state.final:
                happened += self._advance(attempt)
        return happened

    def _live(self, member: Member, seconds: float) -> Iterator[EventView]:
        view, chance = member.view, self._random.random()
        if member.next_state is not None:
            if member.next_at <= self.now:
                yield self._become(member, member.next_state)
            return
        if view.state is not SessionState.ONLINE:
            return
        if chance < _LOSSES_A_DAY * member.restless * self._lively * seconds / _DAY_S:
            yield from self._lose(member)
        elif self._random.random() < 0.06 * seconds:
            grown = 0 if self._random.random() < 0.7 else self._random.randrange(20_000, 900_000)
            member.view = msgspec.structs.replace(
                view,
                last_traffic_at=self.now,
                media_bytes=view.media_bytes + grown,
                media_count=view.media_count + bool(grown),
            )
            if grown:
                yield self._event("media.stored", view.id, size=grown)

    def _lose(self, member: Member, reasons: Sequence[tuple[str, str, int]] = _REASONS) -> Iterator[EventView]:
        """The connection of one session ends; back at once, after a while, or not without a person."""
        reason, text, _ = self._random.choices(reasons, weights=[weight for *_, weight in reasons])[0]
        view = member.view
        back = None if reason == "device_removed" else self.now + self._random.expovariate(1 / 2.5) + 0.2
        self._note(view.id, self.now, reason, text, self.now - view.since, back)
        member.view = msgspec.structs.replace(view, disconnections_today=view.disconnections_today + 1)
        if back is None:
            yield self._become(member, SessionState.NEEDS_PAIRING, _REMOVED)
            return
        yield self._become(member, SessionState.DEGRADED if reason == "half_open" else SessionState.RECONNECTING, text)
        member.next_state, member.next_at = SessionState.ONLINE, back

    def _become(self, member: Member, state: SessionState, detail: str = "") -> EventView:
        view, member.next_state = member.view, None
        member.view = msgspec.structs.replace(
            view,
            state=state,
            meaning=ADVICE[state].meaning,
            remedy=ADVICE[state].remedy.replace(" ID", f" {view.id}"),
            detail=detail,
            since=self.now,
            wanted=state is not SessionState.STOPPED,
        )
        return self._event("session.state", view.id, state=state.value, detail=detail)

    def shake(self, count: int) -> list[EventView]:
        """So many sessions that are online lose their connection at once."""
        online = [member for member in self.members.values() if member.view.state is SessionState.ONLINE]
        losing = self._random.sample(online, min(count, len(online)))
        return [event for member in losing for event in self._lose(member, _REASONS[:4])]

    # ---- what a person does

    def start(self, session: str) -> list[EventView]:
        member = self.members[session]
        happened = [self._become(member, SessionState.CONNECTING)]
        member.next_state, member.next_at = SessionState.ONLINE, self.now + 1.5
        return happened

    def stop(self, session: str) -> list[EventView]:
        return [self._become(self.members[session], SessionState.STOPPED)]

    def create(self, session: str, name: str) -> list[EventView]:
        self.members[session] = Member(view=self._view(session, name or session, SessionState.NEW, None), restless=1.0)
        return [self._event("session.state", session, state="new", detail="")]

    def remove(self, session: str) -> list[EventView]:
        del self.members[session]
        return [self._event("session.removed", session)]

    def pair(self, session: str, phone: str | None, method: PairMethod) -> tuple[PairingView, list[EventView]]:
        """Enter the queue; the simulated person types the code after a while."""
        waiting = sum(not attempt.view.state.final for attempt in self.attempts.values())
        number = f"{self._random.randrange(16**12):012x}"
        view = PairingView(
            id=number,
            session=session,
            method=method,
            state=PairingState.QUEUED,
            created_at=self.now,
            updated_at=self.now,
            phone=None if phone is None else "+" + "".join(filter(str.isdigit, phone))[:5] + "······" + phone[-2:],
            position=waiting + 1,
            wait_s=20.0 * waiting,
        )
        self.attempts[number] = Attempt(view=view, next_at=self.now + 1.0)
        happened = [self._event("pairing.state", session, id=number, state="queued")]
        return view, [*happened, self._become(self.members[session], SessionState.QUEUED)]

    def cancel(self, number: str) -> tuple[PairingView, list[EventView]]:
        attempt = self.attempts[number]
        return attempt.view, self._end(attempt, PairingState.CANCELLED, "Cancelled.", SessionState.NEW)

    def _advance(self, attempt: Attempt) -> list[EventView]:
        member = self.members.get(attempt.view.session)
        if member is None:
            return self._end(attempt, PairingState.CANCELLED, "Its session was removed.", None)
        if attempt.view.state is PairingState.QUEUED:
            self._pair_change(attempt, PairingState.STARTING, position=None, wait_s=None, started_at=self.now)
            attempt.next_at = self.now + 1.0
        elif attempt.view.state is PairingState.STARTING:
            code = "".join(self._random.choices(_LETTERS, k=8))
            shown = (
                {"qr": "2@" + code * 20} if attempt.view.method is PairMethod.QR else {"code": f"{code[:4]}-{code[4:]}"}
            )
            self._pair_change(attempt, PairingState.WAITING, shown_at=self.now, expires_at=self.now + _CODE_S, **shown)
            attempt.next_at = self.now + self._random.uniform(*_TYPING_S)
            return [self._told(attempt), self._become(member, SessionState.PAIRING)]
        elif attempt.view.state is PairingState.WAITING:
            self._pair_change(
                attempt, PairingState.CONFIRMING, code=None, qr=None, expires_at=None, accepted_at=self.now
            )
            attempt.next_at = self.now + _PAIRED_S
            return [self._told(attempt), self._become(member, SessionState.CONNECTING)]
        else:
            member.view = msgspec.structs.replace(member.view, phone=attempt.view.phone or "+22177······42")
            return self._end(attempt, PairingState.LINKED, None, SessionState.ONLINE)
        return [self._told(attempt)]

    def _end(
        self, attempt: Attempt, state: PairingState, reason: str | None, then: SessionState | None
    ) -> list[EventView]:
        self._pair_change(attempt, state, code=None, qr=None, expires_at=None, reason=reason, ended_at=self.now)
        member = self.members.get(attempt.view.session)
        told = [self._told(attempt)]
        return told if then is None or member is None else [*told, self._become(member, then)]

    def _pair_change(self, attempt: Attempt, state: PairingState, **changes: object) -> None:
        attempt.view = msgspec.structs.replace(attempt.view, state=state, updated_at=self.now, **changes)

    def _told(self, attempt: Attempt) -> EventView:
        return self._event("pairing.state", attempt.view.session, id=attempt.view.id, state=attempt.view.state.value)

    # ---- what is known

    def status(self) -> StatusView:
        views = [member.view for member in self.members.values()]
        counts: dict[SessionState, int] = {}
        for view in views:
            counts[view.state] = counts.get(view.state, 0) + 1
        return StatusView(
            release="demo",
            node_id="demo",
            pid=1,
            started_at=self.started_at,
            network="staging",
            sessions=counts,
            media_count=sum(view.media_count for view in views),
            media_bytes=sum(view.media_bytes for view in views),
            intake=IntakeState(),
            last_event=self.seq,
            degraded=[],
        )

    def online_share(self, session: str, start: float, end: float) -> float | None:
        """Of the time between two moments; None before the session existed."""
        if end <= self.members[session].view.created_at:
            return None
        away = sum(
            max(0.0, min(end, row.back_at or self.now) - max(start, row.at))
            for row in self.losses.get(session, ())
            if row.at < end and (row.back_at or self.now) > start
        )
        return max(0.0, 1 - away / (end - start))

    # ---- how it began

    def _add(self, index: int) -> None:
        name = NAMES[index % len(NAMES)] + (f" {index // len(NAMES) + 1}" if index >= len(NAMES) else "")
        session = f"s{index + 1:03}"
        phone = f"+2217{self._random.randrange(10)}······{self._random.randrange(100):02}"
        view = self._view(session, name, SessionState.ONLINE, phone)
        restless = _RESTLESS if self._random.random() < 0.08 else self._random.uniform(0.2, 1.2)
        self.members[session] = Member(view=view, restless=restless)

    def _view(self, session: str, name: str, state: SessionState, phone: str | None) -> SessionView:
        linked = phone is not None
        return SessionView(
            id=session,
            name=name,
            state=state,
            meaning=ADVICE[state].meaning,
            remedy=ADVICE[state].remedy.replace(" ID", f" {session}"),
            since=self.now - (self._random.uniform(0.2, 11) * _DAY_S if linked else 0),
            created_at=self.started_at if linked else self.now,
            wanted=True,
            generation=1,
            node_id="demo",
            phone=phone,
            pid=None,
            engine="demo",
            last_traffic_at=self.now - self._random.expovariate(1 / 90) if linked else None,
            memory_bytes=self._random.randrange(11_000_000, 17_000_000),
            media_bytes=int(self._random.lognormvariate(18.0, 0.9)) if linked else 0,
            media_count=self._random.randrange(20, 900) if linked else 0,
        )

    def _item(self, number: int) -> MediaView:
        at = self.now - number * 410.0
        return MediaView(
            id=f"m{number:04}",
            session=self._random.choice(list(self.members)),
            category=self._random.choice(list(Category)),
            kind=self._random.choice([MediaKind.IMAGE, MediaKind.VIDEO, MediaKind.VOICE]),
            mimetype="application/octet-stream",
            size=self._random.randrange(20_000, 900_000),
            sha256="0" * 64,
            key="",
            message_id=f"m{number}",
            chat="status@broadcast",
            sender=f"+2217{number % 10}······{number % 90 + 10}",
            sent_at=at,
            stored_at=at + 2,
        )

    def _past(self) -> None:
        """A week of losses."""
        day_start = self.now - self.now % _DAY_S
        for member in self.members.values():
            at = self.now - _HISTORY_S
            while (at := at + self._random.expovariate(_LOSSES_A_DAY * member.restless / _DAY_S)) < self.now - 60:
                reason, text, _ = self._random.choices(_REASONS[:4], weights=[41, 14, 9, 5])[0]
                back = at + self._random.expovariate(1 / 3) + (900 if self._random.random() < 0.05 else 0.2)
                self._note(member.view.id, at, reason, text, self._random.expovariate(1 / _DAY_S), min(back, self.now))
                if at >= day_start:
                    count = member.view.disconnections_today + 1
                    member.view = msgspec.structs.replace(member.view, disconnections_today=count, since=back)
        self.ledger.sort(key=lambda row: row.at)

    def _troubles(self) -> None:
        """A fleet in which nothing is wrong would show nothing."""
        members = list(self.members.values())
        stories = (
            (2, SessionState.NEEDS_PAIRING, 7800.0, _REMOVED),
            (1, SessionState.DEGRADED, 31.0, _HALF_OPEN),
            (8, SessionState.COOLING, 340.0, _REFUSED),
            (
                13,
                SessionState.REPLACED,
                50_000.0,
                _REPLACED,
            ),
            (21, SessionState.STOPPED, 200_000.0, ""),
        )
        for index, state, since, detail in stories:
            if index < len(members):
                self._become(members[index], state, detail)
                members[index].view = msgspec.structs.replace(members[index].view, since=self.now - since)
                if state in (SessionState.DEGRADED, SessionState.COOLING):
                    members[index].next_state, members[index].next_at = SessionState.ONLINE, self.now + 20 + 40 * index

    def _note(self, session: str, at: float, reason: str, text: str, uptime: float, back: float | None) -> None:
        row = Disconnection(
            id=len(self.ledger) + 1,
            session=session,
            at=at,
            reason=reason,
            text=text,
            signal="disconnected",
            code=None,
            raw="",
            uptime_s=uptime,
            connected_at=at - uptime,
            decision="redial" if back else "never",
            charged=False,
            back_at=back,
            recovery_s=None if back is None else back - at,
            engine="demo",
            whatsapp="demo",
        )
        self.ledger.append(row)
        self.losses.setdefault(session, []).append(row)

    def _event(self, kind: str, session: str | None, **data: object) -> EventView:
        self.seq += 1
        return EventView(seq=self.seq, at=self.now, type=kind, session=session, data=data)
