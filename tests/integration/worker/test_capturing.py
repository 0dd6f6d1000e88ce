"""What contacts send arrives in the spool byte for byte, through the real engine."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.model import Category, MediaKind
from appliance.model_capture import FetchDeleted
from appliance.protocol import (
    CaptureNote,
    CaptureSettings,
    Configure,
    SendFile,
    SendText,
    SignalKind,
    Spooled,
    WorkerExit,
    WorkerMode,
    WorkerSpec,
)
from appliance.staging.client import StagingClient
from appliance.staging.control_types import (
    CaptureDue,
    FaultKind,
    JournalKind,
    Send,
    SendKind,
    SetFault,
    ViewOnce,
    Where,
)
from tests.integration.worker.conftest import WorkerProcess

pytestmark = [pytest.mark.staging, pytest.mark.asyncio(loop_scope="module")]

ALICE = "491700000001"


async def captured(
    worker: WorkerProcess, staging: StagingClient, phone: str, timeout_s: float = 30.0
) -> list[CaptureDue]:
    """Wait until the spool holds all that the network says is due; compare every byte's hash."""
    due = await staging.captures_due(phone)
    due_ids = {capture.message_id for capture in due}
    await worker.until(lambda: len(worker.bodies(Spooled)) >= len(due_ids), timeout_s)
    spooled = worker.spooled()
    for capture in due:
        item, data = spooled[capture.message_id]
        assert (item.category, item.kind, item.sha256, item.size) == (
            capture.category,
            capture.kind,
            capture.sha256,
            capture.size,
        )
        assert hashlib.sha256(data).hexdigest() == capture.sha256
    assert set(spooled) == due_ids, "nothing but what is due"
    return due


async def test_statuses_of_every_kind(staging: StagingClient, linked: WorkerProcess, phone: str) -> None:
    for kind in (SendKind.TEXT, SendKind.IMAGE, SendKind.VIDEO, SendKind.VOICE, SendKind.AUDIO):
        await staging.send(Send(account=phone, contact=ALICE, kind=kind, where=Where.STATUS))
    due = await captured(linked, staging, phone)
    assert {capture.kind for capture in due} == {
        MediaKind.TEXT,
        MediaKind.IMAGE,
        MediaKind.VIDEO,
        MediaKind.VOICE,
        MediaKind.AUDIO,
    }
    assert {capture.category for capture in due} == {Category.STATUS}
    assert len(linked.bodies(Spooled)) == len(due), "each told once"


@pytest.mark.parametrize("by_phone_number", [False, True])
async def test_view_once_with_payload(
    staging: StagingClient, linked: WorkerProcess, phone: str, by_phone_number: bool
) -> None:
    for kind in (SendKind.IMAGE, SendKind.VIDEO, SendKind.VOICE):
        for form in (ViewOnce.PAYLOAD, ViewOnce.FLAG):
            await staging.send(
                Send(account=phone, contact=ALICE, kind=kind, view_once=form, by_phone_number=by_phone_number)
            )
    due = await captured(linked, staging, phone)
    assert len(due) == 6
    assert {capture.category for capture in due} == {Category.VIEW_ONCE}


@pytest.mark.parametrize("wrapped", [False, True])
async def test_trigger_fetches_what_the_placeholder_withheld(
    staging: StagingClient, linked: WorkerProcess, phone: str, wrapped: bool
) -> None:
    [secret] = await staging.send(
        Send(account=phone, contact=ALICE, kind=SendKind.IMAGE, view_once=ViewOnce.PLACEHOLDER)
    )
    note = await linked.event(CaptureNote)
    assert (note.note, note.message_id) == ("view_once_placeholder", secret)
    await staging.reply_trigger(phone, secret, ".VV ", wrapped=wrapped)
    await captured(linked, staging, phone)
    item, _ = linked.spooled()[secret]
    assert (item.category, item.via) == (Category.VIEW_ONCE, "trigger")


async def test_trigger_on_an_ordinary_picture_is_said(
    staging: StagingClient, linked: WorkerProcess, phone: str
) -> None:
    [picture] = await staging.send(Send(account=phone, contact=ALICE, kind=SendKind.IMAGE))
    await staging.reply_trigger(phone, picture)
    note = await linked.event(CaptureNote)
    assert (note.note, note.message_id) == ("trigger_on_other_message", picture)
    assert not linked.spooled()


async def test_trigger_in_the_chat_with_oneself_fetches_any_picture(
    staging: StagingClient, linked: WorkerProcess, phone: str
) -> None:
    await staging.own_phone_send(phone, Send(account=phone, contact=phone, text=".vv"))
    assert (await linked.event(CaptureNote)).note == "trigger_without_message"
    [picture] = await staging.own_phone_send(phone, Send(account=phone, contact=phone, kind=SendKind.IMAGE))
    await staging.reply_trigger(phone, picture)
    await captured(linked, staging, phone)
    item, _ = linked.spooled()[picture]
    assert (item.category, item.via) == (Category.VIEW_ONCE, "trigger")


async def test_deleted_messages_are_recovered(staging: StagingClient, linked: WorkerProcess, phone: str) -> None:
    sent = []
    for kind in SendKind:
        sent += await staging.send(Send(account=phone, contact=ALICE, kind=kind))
    sent += await staging.send(Send(account=phone, contact=ALICE, kind=SendKind.IMAGE, where=Where.GROUP))
    await staging.wait_for(JournalKind.RECEIPTED, message_id=sent[-1])
    assert not linked.spooled(), "nothing is fetched before it is deleted"
    for message_id in sent:
        await staging.revoke(phone, message_id)
    due = await captured(linked, staging, phone)
    assert len(due) == len(sent)
    assert {capture.category for capture in due} == {Category.DELETED}


async def test_message_that_needs_a_retry_is_captured_once(
    staging: StagingClient, linked: WorkerProcess, phone: str
) -> None:
    await staging.send(
        Send(account=phone, contact=ALICE, kind=SendKind.IMAGE, view_once=ViewOnce.PAYLOAD, damaged=True)
    )
    await captured(linked, staging, phone)
    assert len(linked.bodies(Spooled)) == 1


async def test_media_that_is_gone_is_said_and_not_tried_for_ever(
    staging: StagingClient, linked: WorkerProcess, phone: str
) -> None:
    fault = await staging.set_fault(SetFault(kind=FaultKind.MEDIA_STATUS, code=404, account=phone))
    try:
        [gone] = await staging.send(Send(account=phone, contact=ALICE, kind=SendKind.IMAGE, where=Where.STATUS))
        note = await linked.event(CaptureNote)
    finally:
        await staging.clear_faults(fault.id)
    assert (note.note, note.message_id, note.kind) == ("gone", gone, MediaKind.IMAGE)


async def test_too_large_is_said_and_settings_apply_at_once(
    staging: StagingClient, linked: WorkerProcess, phone: str
) -> None:
    await linked.command(Configure(capture=CaptureSettings(max_media_bytes=10_000, view_once=False)))
    [large] = await staging.send(
        Send(account=phone, contact=ALICE, kind=SendKind.IMAGE, size=20_000, where=Where.STATUS)
    )
    note = await linked.event(CaptureNote)
    assert (note.note, note.message_id) == ("too_large", large)
    await staging.send(Send(account=phone, contact=ALICE, kind=SendKind.IMAGE, view_once=ViewOnce.PAYLOAD, size=5_000))
    [status] = await staging.send(
        Send(account=phone, contact=ALICE, kind=SendKind.IMAGE, where=Where.STATUS, size=5_000)
    )
    await linked.until(lambda: status in linked.spooled())
    assert set(linked.spooled()) == {status}


async def test_sends_and_stays_unavailable(staging: StagingClient, linked: WorkerProcess, phone: str) -> None:
    text = await linked.command(SendText(to="self", text="ok: saved"))
    assert text.error is None
    arrived = await staging.wait_for(JournalKind.ARRIVED, account=phone, message_id=str(text.data["message_id"]))
    assert arrived.data["text_sha256"] == hashlib.sha256(b"ok: saved").hexdigest()
    picture = Path(linked.spec.session_folder) / "picture.jpg"
    picture.write_bytes(b"\xff\xd8\xff" + os.urandom(30_000))
    sent = await linked.command(
        SendFile(to="self", path=str(picture), kind=MediaKind.IMAGE, mimetype="image/jpeg", caption="there")
    )
    assert sent.error is None
    arrived = await staging.wait_for(JournalKind.ARRIVED, account=phone, message_id=str(sent.data["message_id"]))
    assert arrived.data["sha256"] == hashlib.sha256(picture.read_bytes()).hexdigest()
    outside = await linked.command(SendFile(to="self", path="/etc/hostname", kind=MediaKind.DOCUMENT, mimetype="x/y"))
    assert outside.error == "`path` must lie in the session's folder"
    presences = await staging.journal(kinds=[JournalKind.PRESENCE], account=phone)
    assert {entry.data["type"] for entry in presences} <= {"unavailable"}


async def test_what_waited_while_the_worker_was_away_comes_once(
    staging: StagingClient,
    linked: WorkerProcess,
    phone: str,
    make_spec: Callable[..., WorkerSpec],
    start_worker: Callable[..., object],
) -> None:
    assert await linked.stop() == WorkerExit.STOPPED
    await staging.send(Send(account=phone, contact=ALICE, kind=SendKind.IMAGE, where=Where.STATUS))
    [deleted] = await staging.send(Send(account=phone, contact=ALICE, text="never mind"))
    await staging.revoke(phone, deleted)
    again: WorkerProcess = await start_worker(make_spec(WorkerMode.RUN))  # type: ignore[misc]
    await again.signal(SignalKind.CONNECTED)
    due = await captured(again, staging, phone)
    assert len(due) == 2
    assert again.hello is not None
    assert linked.events[-1].seq < again.events[0].seq, "numbers grow over restarts"


async def test_killed_while_messages_flow_loses_nothing_that_was_receipted(
    staging: StagingClient,
    linked: WorkerProcess,
    phone: str,
    make_spec: Callable[..., WorkerSpec],
    start_worker: Callable[..., object],
) -> None:
    worker, workers = linked, [linked]
    for round_number in range(6):
        sending = asyncio.create_task(_send_a_lot(staging, phone))
        await asyncio.sleep(0.05 + 0.11 * round_number)  # the moment of the kill is the point of the test
        os.kill(worker.pid, signal.SIGKILL)
        await worker.exit_status()
        await sending
        worker = await start_worker(make_spec(WorkerMode.RUN))  # type: ignore[misc,assignment]
        workers.append(worker)
        await worker.signal(SignalKind.CONNECTED)

    def lost() -> set[str]:
        """Told by whichever process noticed it, maybe only now."""
        notes = [note for one in workers for note in one.bodies(CaptureNote)]
        return {note.message_id for note in notes if note.note == "lost_in_ack_window"}

    due = await staging.captures_due(phone)
    wanted = {capture.message_id for capture in due}
    await worker.until(lambda: wanted - lost() <= set(worker.spooled()), 30.0)
    spooled = worker.spooled()
    for capture in due:
        if capture.message_id in spooled:
            item, data = spooled[capture.message_id]
            assert hashlib.sha256(data).hexdigest() == capture.sha256 == item.sha256
    assert len(spooled) == len({item.item for item, _ in spooled.values()})
    assert len(lost() & wanted) <= 1
    assert len(due) == 6 * 12


async def _send_a_lot(staging: StagingClient, phone: str) -> None:
    for number in range(12):
        await staging.send(Send(account=phone, contact=ALICE, kind=SendKind.TEXT, count=4))
        where = Where.STATUS if number % 2 else Where.CHAT
        view_once = ViewOnce.NO if number % 2 else ViewOnce.PAYLOAD
        await staging.send(
            Send(account=phone, contact=ALICE, kind=SendKind.IMAGE, where=where, view_once=view_once, size=8_000)
        )


async def test_media_fetched_on_arrival_survives_that_whatsapp_no_longer_has_it(
    staging: StagingClient, linked: WorkerProcess, phone: str
) -> None:
    await linked.command(Configure(capture=CaptureSettings(fetch_deleted=FetchDeleted.ON_ARRIVAL)))
    [said] = await staging.send(Send(account=phone, contact=ALICE, kind=SendKind.IMAGE))
    folder = linked.folder / "spool"
    async with asyncio.timeout(30):
        while not list(folder.glob("*.held")):  # noqa: ASYNC110 - nobody is told of what is only held
            await asyncio.sleep(0.05)
    fault = await staging.set_fault(SetFault(kind=FaultKind.MEDIA_STATUS, account=phone, code=404))
    try:
        await staging.revoke(phone, said)
        await captured(linked, staging, phone)
    finally:
        await staging.clear_faults(fault.id)
    assert linked.spooled()[said][0].via == "revoke"


async def test_what_is_captured_is_sent_to_the_own_chat(
    staging: StagingClient, linked: WorkerProcess, phone: str
) -> None:
    await linked.command(Configure(capture=CaptureSettings(copy_to_self=True)))
    before = await staging.last()
    await staging.send(Send(account=phone, contact=ALICE, kind=SendKind.IMAGE, where=Where.STATUS, text="look"))
    [due] = await captured(linked, staging, phone)
    arrived = await staging.wait_for(JournalKind.ARRIVED, account=phone, after=before, timeout_s=60.0)
    assert arrived.data["sha256"] == due.sha256
    async with asyncio.timeout(30):
        while list((linked.folder / "spool").glob("*.copy*")):  # noqa: ASYNC110 - gone after the answer, untold
            await asyncio.sleep(0.05)
