"""What `amda rehearse live` does: one real number is linked, used, restarted and unlinked, and what is seen is noted.

The staging network was made by those who made the appliance: it shares their misunderstandings. This asks WhatsApp
itself. Everything is proved by what the appliance reports, bounded in time, and taken back at the end, come what may.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from appliance.cli.pair import PairingDisplay
from appliance.cli.rehearse_report import Happening, Outcome, Report, Step, cleaned, machine
from appliance.client import ApiError, ClientError, NotRunningError
from appliance.language import _
from appliance.model import EventView, PairingState, SessionState, mask_phone
from appliance.model_capture import CaptureChange

if TYPE_CHECKING:
    from appliance.cli.rehearse_operator import Operator
    from appliance.client import ApplianceClient

SESSION: Final = "rehearsal-live"
NAME: Final = "amda rehearse live"
"""By which a session that an earlier rehearsal has left behind is known again."""
TRIGGER: Final = ".vv"
ALONE: Final = "trigger_without_message"
"""What a worker notes when its owner writes the trigger and answers nothing with it."""
LINK_S: Final = 330.0
"""A little more than an attempt may take (`pairing.job_limit_s`): it tells by itself why it ended."""
PERSON_S: Final = 300.0
"""What a person may take to find a chat, or a picture."""
ANSWER_S: Final = 120.0
ONLINE_S: Final = 90.0
"""A session is back within seconds; a hanging login is started anew after 30."""
CLEAN_UP_S: Final = 60.0
"""Unlinking waits 15 s for WhatsApp; a daemon that is being restarted is waited for."""
RETRY_S: Final = 0.5
"""Between two questions to a daemon that is away, or busy with this session."""
_NOT_FOUND: Final = 404
PRIVATE: Final = CaptureChange(
    statuses=False, deleted=False, groups=False, view_once=True, trigger=TRIGGER, copy_to_self=True
)
"""Of a real person's account nothing is kept but the picture that is sent for this purpose."""
_TOLD: Final = ("state", "reason", "detail", "note", "kind", "category", "treatment", "error")
"""Of an event only these are told; others may hold ids of messages, codes and names."""


class StepError(Exception):
    """A step did not reach its end; one line."""


class Rehearsal:
    """One run; `run()` returns a report, whatever happens meanwhile."""

    def __init__(self, client: ApplianceClient, operator: Operator, *, phone: str | None) -> None:
        self._client = client
        self._operator = operator
        self._phone = phone
        self._masked = mask_phone(phone) if phone else ""
        self._began_at = time.time()
        self._began = time.monotonic()
        self._steps: list[Step] = []
        self._figures: dict[str, float] = {}
        self._seen: bool | None = None
        self._happenings: list[Happening] = []
        self._events: list[EventView] = []
        self._event_came = asyncio.Event()
        self._engine = ""
        self._made = False
        self._clean = False

    async def run(self) -> Report:
        """All steps, then the cleaning up; also when this task is cancelled, which is noted as interrupted.

        Raises ClientError or StepError before anything was begun."""
        status = await self._client.status()
        await self._remove_former()
        listener = asyncio.create_task(self._listen(status.last_event))
        work = asyncio.create_task(self._carry_out())
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.wait([work])
        await self._clean_up()
        listener.cancel()
        await asyncio.wait([listener])
        report = Report(
            release=status.release,
            engine=self._engine,
            network=status.network,
            machine=machine(),
            began_at=self._began_at,
            seconds=round(time.monotonic() - self._began, 1),
            phone=self._masked,
            method="code" if self._phone else "qr",
            steps=self._steps,
            happenings=self._happenings,
            degraded=[f"{part.part}: {part.reason}" for part in status.degraded],
            cleaned_up=self._clean,
        )
        return cleaned(report, "".join(filter(str.isdigit, self._phone or "")))

    async def _carry_out(self) -> None:
        tried: dict[str, tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = {
            "link": (_("Link this number as one more device."), self._link),
            "message": (_("A message to yourself."), self._message),
            "picture": (_("A picture to yourself, stored, and sent back."), self._picture),
            "restart": (_("A message while the session is stopped; then it starts again."), self._restart),
            "unlink": (_("Unlink the device, and forget everything."), self._unlink),
        }
        failed = False
        for number, (name, (title, work)) in enumerate(tried.items(), 1):
            if failed and name != "unlink":
                self._steps.append(Step(name=name, outcome=Outcome.LEFT_OUT, seconds=0.0))
                continue
            self._operator.say(f"\n[{number}/{len(tried)}] {title}")
            passed = await self._step(name, work)
            # Without a link nothing else can be tried.
            failed = failed or (name == "link" and not passed)

    async def _step(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        started = time.monotonic()
        self._figures, self._seen = {}, None
        outcome, note = Outcome.INTERRUPTED, ""
        try:
            await work()
            outcome = Outcome.PASSED
        except StepError as error:
            outcome, note = Outcome.FAILED, str(error)
        except ClientError as error:
            outcome, note = Outcome.FAILED, f"{error} {error.remedy}".strip()
        finally:
            seconds = round(time.monotonic() - started, 1)
            figures = {key: round(value, 2) for key, value in self._figures.items()}
            step = Step(name=name, outcome=outcome, seconds=seconds, figures=figures, note=note, seen=self._seen)
            self._steps.append(step)
            words = _("{outcome} ({seconds:.1f} s) {note}").format(
                outcome=_WORDS[outcome](), seconds=seconds, note=note
            )
            self._operator.say(f"  {words.strip()}")
        return outcome is Outcome.PASSED

    # ---- steps

    async def _link(self) -> None:
        await self._client.create_session(SESSION, NAME)
        self._made = True
        await self._client.set_capture(SESSION, PRIVATE)
        display = PairingDisplay(self._operator.output)
        view = asked = await self._client.pair(SESSION, phone=self._phone)
        try:
            async with asyncio.timeout(LINK_S):
                async for view in self._client.follow_pairing(asked):
                    await display.show(view)
        except TimeoutError:
            raise StepError(f"the attempt has not ended within {LINK_S:.0f} s") from None
        finally:
            await display.close()
        for name, (begin, end) in {
            "code_after_s": (view.created_at, view.shown_at),
            "typed_after_s": (view.shown_at, view.accepted_at),
            "logged_in_after_s": (view.accepted_at, view.ended_at),
        }.items():
            if begin is not None and end is not None:
                self._figures[name] = end - begin
        self._figures["tries"] = view.tries
        if view.state is not PairingState.LINKED:
            raise StepError(f"{view.state.value}: {view.reason or ''} {view.remedy or ''}".strip())
        await self._online()

    async def _message(self) -> None:
        asked = len(self._events)
        self._operator.say(_("On the phone: WhatsApp, the chat with yourself (“Message yourself”); write there: .vv"))
        event = await self._event(asked, "media.note", PERSON_S, note=ALONE)
        self._figures["arrived_after_start_s"] = event.at - self._began_at

    async def _picture(self) -> None:
        asked = len(self._events)
        self._operator.say(_("Send a picture to that chat; then answer that picture (swipe it to the right) with: .vv"))
        event = await self._event(asked, "media.stored", PERSON_S)
        item = await self._client.media_item(str(event.data["id"]))
        digest = hashlib.sha256()
        async for piece in self._client.media_content(item.id):
            digest.update(piece)
        self._figures |= {
            "bytes_received": item.original_size or item.size,
            "bytes_stored": item.size,
            "answer_to_stored_s": max(0.0, item.stored_at - item.sent_at),
        }
        if digest.hexdigest() != (item.stored_sha256 or item.sha256):
            raise StepError("what is read back from the store is not what was stored")
        self._seen = await self._operator.confirm(
            _("Does a copy of the picture appear in that chat, with a caption that begins with “View once”?"), ANSWER_S
        )

    async def _restart(self) -> None:
        await self._client.stop_session(SESSION)
        await self._state(SessionState.STOPPED, ONLINE_S)
        self._operator.say(_("The session is stopped. Write once more to yourself: .vv"))
        await self._operator.confirm(_("Written?"), PERSON_S)
        asked, started = len(self._events), time.monotonic()
        await self._client.start_session(SESSION)
        await self._online()
        self._figures["online_after_s"] = time.monotonic() - started
        await self._event(asked, "media.note", ONLINE_S, note=ALONE)
        self._figures["message_after_s"] = time.monotonic() - started

    async def _unlink(self) -> None:
        if not self._made:
            return
        await self._stop_linking()
        removed = await self._client.remove_session(SESSION, purge=True)
        self._clean = True
        # A number that was never linked has nothing to be unlinked.
        linked = any(step.name == "link" and step.outcome is Outcome.PASSED for step in self._steps)
        if linked and removed.note is not None:
            raise StepError(f"not unlinked: {removed.note}")
        if linked:
            self._seen = await self._operator.confirm(
                _("Is the device gone from the list? (On the phone: WhatsApp → Linked devices)"), ANSWER_S
            )

    # ---- what the appliance says

    async def _online(self) -> None:
        await self._state(SessionState.ONLINE, ONLINE_S)
        view = await self._client.session(SESSION)
        self._engine = view.engine or self._engine
        self._masked = view.phone or self._masked

    async def _state(self, state: SessionState, within_s: float) -> None:
        found = ""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    looked = len(self._events)
                    view = await self._client.session(SESSION)
                    if view.state is state:
                        return
                    found = f"{view.state.value}. {view.detail}".strip()
                    await self._next(looked, "session.state")
        except TimeoutError:
            raise StepError(f"not {state.value} within {within_s:.0f} s: {found}") from None

    async def _event(self, after: int, kind: str, within_s: float, **data: str) -> EventView:
        """The first of its kind that came after so many others."""
        try:
            async with asyncio.timeout(within_s):
                return await self._next(after, kind, **data)
        except TimeoutError:
            raise StepError(f"nothing of it arrived within {within_s:.0f} s") from None

    async def _next(self, after: int, kind: str, **data: str) -> EventView:
        while True:
            for event in self._events[after:]:
                if event.type == kind and all(event.data.get(name) == value for name, value in data.items()):
                    return event
            self._event_came.clear()
            await self._event_came.wait()

    async def _listen(self, after: int) -> None:
        """Notes what happens to the session, until cancelled; a daemon that is restarted is found again."""
        async for event in _events(self._client, after):
            at = round(event.at - self._began_at, 1)
            words = " ".join(f"{name}={event.data[name]}" for name in _TOLD if event.data.get(name))
            self._happenings.append(Happening(at=at, what=f"{event.type} {words}".strip()))
            self._events.append(event)
            self._event_came.set()

    # ---- leaving nothing behind

    async def _remove_former(self) -> None:
        """What a rehearsal whose machine lost its power has left. Raises StepError if it is somebody else's."""
        try:
            view = await self._client.session(SESSION)
        except ApiError as error:
            if error.problem.status == _NOT_FOUND:
                return
            raise
        if view.name != NAME:
            raise StepError(f"there is a session {SESSION} already, and no rehearsal has made it")
        self._operator.say(_("An earlier rehearsal has left its session behind; it is removed first."))
        await self._stop_linking()
        await self._client.remove_session(SESSION, purge=True)

    async def _stop_linking(self) -> None:
        for view in await self._client.pairings(SESSION):
            if not view.state.final:
                with contextlib.suppress(ApiError):  # it has just ended
                    await self._client.cancel_pairing(view.id)

    async def _clean_up(self) -> None:
        """Whatever has happened: unlink and forget. Says so if it could not be done."""
        if self._clean or not self._made:
            self._clean = True
            return
        self._operator.say(_("Cleaning up: unlinking the device …"))
        why = _("no answer")
        try:
            async with asyncio.timeout(CLEAN_UP_S):
                while not self._clean:
                    try:
                        await self._stop_linking()
                        await self._client.remove_session(SESSION, purge=True)
                        self._clean = True
                    except (NotRunningError, ApiError) as error:
                        why = str(error)
                        self._clean = isinstance(error, ApiError) and error.problem.status == _NOT_FOUND
                        await asyncio.sleep(RETRY_S)
        except TimeoutError:
            remedy = _("amda session remove {id} --purge; on the phone: WhatsApp → Linked devices").format(id=SESSION)
            self._operator.say(_("NOT cleaned up: {why}").format(why=why))
            self._operator.say(_("  what to do: {remedy}").format(remedy=remedy))
            return
        self._operator.say(_("Cleaned up: nothing of it is left."))


async def _events(client: ApplianceClient, after: int) -> AsyncIterator[EventView]:
    while True:
        with contextlib.suppress(ClientError):
            async for event in client.events(after=after, session=SESSION):
                after = event.seq
                yield event
        await asyncio.sleep(RETRY_S)


_WORDS: Final[dict[Outcome, Callable[[], str]]] = {
    Outcome.PASSED: lambda: _("passed"),
    Outcome.FAILED: lambda: _("FAILED:"),
    Outcome.INTERRUPTED: lambda: _("interrupted"),
    Outcome.LEFT_OUT: lambda: _("left out"),
}
