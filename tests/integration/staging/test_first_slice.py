"""Linking, and every kind of content that contacts send, with the real engine."""

from __future__ import annotations

from typing import Any

from appliance.model import Category
from appliance.staging.control_types import AddAccount, JournalKind, Send, SendKind, TypingPlan, ViewOnce, Where

from .conftest import Engine, Engines, NetworkProcess

PHONE = "221771000010"
ALICE = "221771000011"


async def send(network: NetworkProcess, **request: Any) -> str:
    (message_id,) = await network.client.send(Send(**{"account": PHONE, "contact": ALICE} | request))
    return message_id


async def expect_content(network: NetworkProcess, engine: Engine, message_id: str) -> dict[str, Any]:
    """The engine has received what was sent, byte for byte."""
    sent = await network.client.wait_for(JournalKind.SENT, message_id=message_id)
    while True:
        message = await engine.event("message", id=message_id)
        if message["fields"] != ["senderKeyDistributionMessage"]:
            break
    assert message.get("sha256") == sent.data["sha256"], message
    await network.client.wait_for(JournalKind.RECEIPTED, message_id=message_id)
    return message


async def expect_clean(network: NetworkProcess) -> None:
    """The engine asked for nothing unknown, and said nothing wrong."""
    unknown = await network.client.journal(kinds=[JournalKind.UNKNOWN_REQUEST, JournalKind.BAD_MESSAGE])
    assert unknown == []


async def test_link_by_code_then_every_kind_of_content(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    text_id = await send(network, text="bonjour")
    assert (await engine.event("message", id=text_id))["text"] == "bonjour"
    for kind in SendKind:
        if kind is not SendKind.TEXT:
            message_id = await send(network, kind=kind, text="légende" if kind is SendKind.DOCUMENT else "")
            await expect_content(network, engine, message_id)
    large = await send(network, kind=SendKind.IMAGE, size=3_000_000, mimetype="image/png")
    assert (await expect_content(network, engine, large))["size"] == 3_000_000
    await expect_content(network, engine, await send(network, kind=SendKind.IMAGE, by_phone_number=True))
    await expect_clean(network)


async def test_link_by_qr(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.start("qr")
    await engine.call("connect")
    qr = await engine.event("qr")
    await network.client.scan_qr(PHONE, qr["text"])
    await engine.event("connected")
    done = await network.client.wait_for(JournalKind.PAIR_DONE, account=PHONE)
    assert done.data["method"] == "qr"
    await expect_content(network, engine, await send(network, kind=SendKind.IMAGE))
    await expect_clean(network)


async def test_a_wrong_code_and_then_the_right_one(network: NetworkProcess, engines: Engines) -> None:
    await network.client.add_account(AddAccount(phone=PHONE, plan=TypingPlan.WRONG_THEN_RIGHT))
    engine = await engines.start("wrong")
    await engine.call("connect")
    await engine.event("qr")
    code = await engine.call("pair_code", phone=PHONE)
    assert (await network.client.type_code(PHONE, code)).outcome == "planned"
    await engine.event("connected")
    assert await network.client.journal(kinds=[JournalKind.PAIR_WRONG], account=PHONE)


async def test_a_code_typed_twice_links_once(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE, plan=TypingPlan.TYPE)
    assert (await network.client.type_code(PHONE, "ABCD-EFGH", now=True)).outcome == "no_request"
    assert len(await network.client.journal(kinds=[JournalKind.PAIR_DONE], account=PHONE)) == 1
    assert engine.seen("logged_out") == []


async def test_statuses_view_once_trigger_revoke_and_group(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    first = await send(network, kind=SendKind.IMAGE, where=Where.STATUS)
    second = await send(network, kind=SendKind.VIDEO, where=Where.STATUS)
    for message_id in (first, second):
        assert (await expect_content(network, engine, message_id))["chat"] == "status@broadcast"
    worded = await send(network, where=Where.STATUS, text="statut")
    assert (await engine.event("message", id=worded))["text"] == "statut"

    opened = await send(network, kind=SendKind.IMAGE, view_once=ViewOnce.PAYLOAD)
    assert (await expect_content(network, engine, opened))["view_once"]
    await expect_content(network, engine, await send(network, kind=SendKind.IMAGE, view_once=ViewOnce.FLAG))
    spoken = await send(network, kind=SendKind.VOICE, view_once=ViewOnce.PAYLOAD)
    assert (await expect_content(network, engine, spoken))["view_once"]

    hidden = await send(network, kind=SendKind.IMAGE, view_once=ViewOnce.PLACEHOLDER)
    assert (await engine.event("undecryptable", id=hidden))["unavailable"]
    await network.client.wait_for(JournalKind.ACKED, message_id=hidden)
    hash_of = {e.message_id: e.data["sha256"] for e in await network.client.journal(kinds=[JournalKind.SENT])}
    for wrapped in (False, True):
        reply = await network.client.reply_trigger(PHONE, hidden, wrapped=wrapped)
        message = await engine.event("message", id=reply)
        assert (message["text"], message["from_me"]) == (".vv", True)
        assert message["sha256"] == hash_of[hidden]
        await network.client.wait_for(JournalKind.RECEIPTED, message_id=reply)

    deleted = await send(network, kind=SendKind.IMAGE)
    await expect_content(network, engine, deleted)
    revoke = await network.client.revoke(PHONE, deleted)
    assert (await engine.event("message", id=revoke))["revoked"] == deleted
    await network.client.wait_for(JournalKind.RECEIPTED, message_id=revoke)

    for _ in range(2):
        message = await expect_content(network, engine, await send(network, kind=SendKind.IMAGE, where=Where.GROUP))
        assert message["group"]
    removed = await send(network, where=Where.GROUP, text="oublie")
    revoke = await network.client.revoke(PHONE, removed)
    assert (await engine.event("message", id=revoke))["revoked"] == removed
    await network.client.wait_for(JournalKind.RECEIPTED, message_id=revoke)

    due = await network.client.captures_due(PHONE)
    assert {(d.category, d.message_id) for d in due} == {
        (Category.STATUS, first),
        (Category.STATUS, second),
        (Category.STATUS, worded),
        (Category.VIEW_ONCE, opened),
        (Category.VIEW_ONCE, spoken),
        (Category.VIEW_ONCE, hidden),
        (Category.DELETED, deleted),
        (Category.DELETED, removed),
        *((Category.VIEW_ONCE, d.message_id) for d in due if d.category is Category.VIEW_ONCE),
    }
    assert all(d.receipted_at is not None for d in due)
    await expect_clean(network)


async def test_own_phone_edits_and_reading(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    (note,) = await network.client.own_phone_send(PHONE, Send(account="", contact="", text="pour moi"))
    message = await engine.event("message", id=note)
    assert message["from_me"]
    assert message["chat"] == message["sender"]
    (to_alice,) = await network.client.own_phone_send(
        PHONE, Send(account="", contact="", to=ALICE, kind=SendKind.IMAGE)
    )
    message = await expect_content(network, engine, to_alice)
    assert message["from_me"]
    assert message["chat"] != message["sender"]
    text = await send(network, text="avant")
    message = await engine.event("message", id=text)
    edit = await send(network, text="après", edit_of=text)
    assert (await engine.event("message", id=edit))["edit"] == "1"
    await engine.call("mark_read", message_id=text, chat=message["chat"])
    await network.client.wait_for(JournalKind.READ, message_id=text)
    await expect_clean(network)


async def test_a_message_that_cannot_be_read_is_asked_for_again(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    for request in ({}, {"where": Where.STATUS}, {"kind": SendKind.IMAGE, "where": Where.GROUP}):
        damaged = await send(network, damaged=True, **request)
        await network.client.wait_for(JournalKind.RETRY_ASKED, message_id=damaged)
        await engine.event("message", id=damaged)
        await network.client.wait_for(JournalKind.RECEIPTED, message_id=damaged)
    account = await network.client.account(PHONE)
    assert account is not None
    assert account.devices[0].pending == 0
