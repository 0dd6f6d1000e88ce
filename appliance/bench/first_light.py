"""`amda bench first-light`: one session by code, one by QR, every kind of message, and all of it in the store.

The daemon is restarted between the linkings and again while messages arrive; no session may notice.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import msgspec

from appliance.bench import proof
from appliance.bench.rig import Rig, phone_number, say
from appliance.model import SessionState
from appliance.staging import control_types as ct

STORED_TIMEOUT_S: Final = 45.0
"""After the last message: downloads from loopback take milliseconds, the rest is patience for a busy machine."""
QUIET_S: Final = 2.0
"""Without any new capture for this long after all are stored: a duplicate would have come by then."""
LEAST_CAPTURES: Final = 12
"""Every kind of message once; fewer would prove less than this rehearsal promises."""
CODE_SESSION, QR_SESSION = "by-code", "by-qr"
CONTACTS: Final = ("+33612345601", "+33612345602", "+33612345603")


class FirstLight(msgspec.Struct, frozen=True, kw_only=True):
    linked: int
    online: int
    daemon_restart_disconnects: int
    sent: int
    stored: int
    sha256_mismatches: int
    lost: int
    lost_in_ack_window: int
    unknown_requests: int
    duplicates: int
    not_due: int
    seconds: float
    sent_by_kind: dict[str, int]
    lost_ids: list[str]

    @property
    def passed(self) -> bool:
        zeros = (
            self.daemon_restart_disconnects,
            self.sha256_mismatches,
            self.lost,
            self.lost_in_ack_window,
            self.unknown_requests,
            self.duplicates,
            self.not_due,
        )
        return self.linked == 2 and self.online == 2 and not any(zeros) and self.stored == self.sent >= LEAST_CAPTURES


async def run(*, keep: bool = False) -> FirstLight:
    """Carry it out on a fresh network. Raises BenchError if it cannot be."""
    started = time.monotonic()
    say("starting a staging network and an appliance")
    async with Rig(keep=keep) as rig:
        accounts = {CODE_SESSION: phone_number(1), QR_SESSION: phone_number(2)}
        say("linking one session by code")
        await rig.link(CODE_SESSION, accounts[CODE_SESSION])
        disconnects = await _restart_daemon(rig)
        say("linking one session by QR code")
        await rig.link(QR_SESSION, accounts[QR_SESSION], qr=True)
        say("contacts send one of every kind, the daemon is restarted meanwhile")
        restart = asyncio.create_task(_restart_daemon(rig))
        for phone in accounts.values():
            await send_everything(rig, phone)
        disconnects += await restart
        await _all_receipted(rig, accounts)
        due = await proof.due_captures(rig, accounts, receipted_only=False)
        say(f"waiting for {len(due)} captures to be stored")
        await proof.wait_stored(rig, due, STORED_TIMEOUT_S)
        await asyncio.sleep(QUIET_S)
        verdict = await proof.prove(rig, due)
        views = [await rig.api.session(session) for session in accounts]
        stats = await rig.staging.stats()
        if not verdict.perfect:
            rig.keep()
        return FirstLight(
            linked=sum(1 for account in await rig.staging.accounts() if account.devices),
            online=sum(1 for view in views if view.state is SessionState.ONLINE),
            daemon_restart_disconnects=disconnects,
            sent=verdict.sent,
            stored=verdict.stored,
            sha256_mismatches=verdict.sha256_mismatches,
            lost=verdict.lost,
            lost_in_ack_window=verdict.lost_in_ack_window,
            unknown_requests=stats.unknown_requests,
            duplicates=verdict.duplicates,
            not_due=verdict.not_due,
            seconds=round(time.monotonic() - started, 1),
            sent_by_kind=verdict.sent_by_kind,
            lost_ids=verdict.lost_ids,
        )


async def send_everything(rig: Rig, phone: str) -> None:
    """One of every message kind that the appliance has to keep, and of those that it has to leave alone."""
    friend, other, group_member = CONTACTS
    send = rig.staging.send
    for kind in ct.SendKind:
        await send(ct.Send(account=phone, contact=friend, kind=kind, where=ct.Where.STATUS))
    for kind in ct.SendKind:
        ids = await send(ct.Send(account=phone, contact=other, kind=kind))
        await _delivered(rig, phone, ids)
        await rig.staging.revoke(phone, ids[0])
    ids = await send(ct.Send(account=phone, contact=group_member, kind=ct.SendKind.IMAGE, where=ct.Where.GROUP))
    await _delivered(rig, phone, ids)
    await rig.staging.revoke(phone, ids[0])
    for kind in (ct.SendKind.IMAGE, ct.SendKind.VIDEO, ct.SendKind.VOICE):
        await send(ct.Send(account=phone, contact=friend, kind=kind, view_once=ct.ViewOnce.PAYLOAD))
    await send(ct.Send(account=phone, contact=friend, kind=ct.SendKind.IMAGE, view_once=ct.ViewOnce.FLAG))
    for wrapped in (False, True):
        ids = await send(
            ct.Send(account=phone, contact=other, kind=ct.SendKind.IMAGE, view_once=ct.ViewOnce.PLACEHOLDER)
        )
        await rig.staging.reply_trigger(phone, ids[0], wrapped=wrapped)
    # None of these may be kept: nobody asked for them.
    await send(ct.Send(account=phone, contact=friend, text="an ordinary text"))
    await send(ct.Send(account=phone, contact=friend, kind=ct.SendKind.IMAGE))
    await rig.staging.own_phone_send(
        phone, ct.Send(account=phone, contact=phone, to=friend, text=".vv without a quote")
    )


async def _delivered(rig: Rig, phone: str, ids: list[str]) -> None:
    for message_id in ids:
        await rig.staging.wait_for(ct.JournalKind.RECEIPTED, account=phone.lstrip("+"), message_id=message_id)


async def _all_receipted(rig: Rig, accounts: dict[str, str]) -> None:
    for phone in accounts.values():
        for capture in await rig.staging.captures_due(phone.lstrip("+")):
            await rig.staging.wait_for(
                ct.JournalKind.RECEIPTED,
                account=phone.lstrip("+"),
                message_id=capture.due_by,
                timeout_s=STORED_TIMEOUT_S,
            )


async def _restart_daemon(rig: Rig) -> int:
    """Restart it, and count the connections to WhatsApp that ended meanwhile."""
    before = await rig.staging.last()
    await rig.appliance.restart_daemon()
    closed = await rig.staging.whole_journal(after=before, kinds=[ct.JournalKind.CLOSED])
    return sum(1 for entry in closed if entry.data.get("ready"))
