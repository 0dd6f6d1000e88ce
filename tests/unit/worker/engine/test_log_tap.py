"""What the engine's log lines say. The lines are real ones, shortened."""

from __future__ import annotations

import pytest

from appliance.protocol import SignalKind
from appliance.worker.engine.first_login import FirstLogin
from appliance.worker.engine.gate import ReceiptGate
from appliance.worker.engine.log_tap import LogTap, PairingRefs, parse_refusal


class NoMark:
    def arm(self) -> None: ...

    def disarm(self) -> None: ...


class Harness:
    def __init__(self) -> None:
        self.now = 100.0
        self.written: list[tuple[str, str]] = []
        self.lost: list[str] = []
        self.gate = ReceiptGate(NoMark())
        self.first_login = FirstLogin()
        self.tap = LogTap(
            gate=self.gate,
            first_login=self.first_login,
            write=lambda level, text: self.written.append((level, text)),
            on_lost=self.lost.append,
            clock=lambda: self.now,
        )


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_ping_and_its_answer_are_seen(harness: Harness) -> None:
    tap = harness.tap
    tap.line("Client/Send", "DEBUG", '<iq id="7.9-4" to="s.whatsapp.net" type="get" xmlns="w:p"/>')
    assert (tap.times.ping_sent_at, tap.times.ping_answered_at) == (100.0, None)
    harness.now = 101.0
    tap.line("Client/Recv", "DEBUG", '<iq from="s.whatsapp.net" id="7.9-3" type="result"/>')
    assert (tap.times.frame_at, tap.times.ping_answered_at) == (101.0, None)
    harness.now = 102.0
    tap.line("Client/Recv", "DEBUG", '<iq from="s.whatsapp.net" id="7.9-4" type="result"/>')
    assert (tap.times.frame_at, tap.times.ping_answered_at) == (102.0, 102.0)


def test_debug_lines_are_not_kept_and_numbers_are_masked(harness: Harness) -> None:
    harness.tap.line("Client/Recv", "DEBUG", '<message from="4915112345678@s.whatsapp.net"/>')
    harness.tap.line("Client", "WARN", "Failed to parse 4915112345678@s.whatsapp.net:12")
    assert harness.written == [("WARN", "Failed to parse …@s.whatsapp.net:12")]


def test_references_give_the_life_of_a_code(harness: Harness) -> None:
    line = '<iq from="s.whatsapp.net" id="s-1" type="set" xmlns="md"><pair-device>{}</pair-device></iq>'
    harness.tap.line("Client/Recv", "DEBUG", line.format("<ref>a</ref>" * 6))
    assert harness.tap.refs == PairingRefs(count=6, at=100.0)
    assert harness.tap.refs.ends_at == 260.0
    assert [harness.tap.refs.lifetime(n) for n in (0, 1, 5)] == [60.0, 20.0, 20.0]
    harness.tap.line("Client/Recv", "DEBUG", line.format("<ref>a</ref>"))
    assert harness.tap.refs.ends_at == 120.0


@pytest.mark.parametrize(
    ("stanza", "kind", "code", "expires_s"),
    [
        ('<failure expire="3600" reason="402" code="101"/>', SignalKind.TEMPORARY_BAN, 402, 3600.0),
        ('<failure reason="401" location="frc"/>', SignalKind.LOGGED_OUT, 401, None),
        ('<failure reason="405"/>', SignalKind.CLIENT_OUTDATED, 405, None),
        ('<failure reason="418"/>', SignalKind.CONNECT_FAILURE, 418, None),
        ("<failure/>", SignalKind.CONNECT_FAILURE, None, None),
        ('<stream:error><conflict type="replaced"/></stream:error>', SignalKind.STREAM_REPLACED, 440, None),
        (
            '<stream:error code="401"><conflict type="device_removed"/></stream:error>',
            SignalKind.LOGGED_OUT,
            401,
            None,
        ),
        ('<stream:error code="503"/>', SignalKind.STREAM_ERROR, 503, None),
    ],
)
def test_refusals(harness: Harness, stanza: str, kind: SignalKind, code: int | None, expires_s: float | None) -> None:
    parsed = parse_refusal(stanza)
    assert (parsed.kind, parsed.code, parsed.expires_s, parsed.raw) == (kind, code, expires_s, stanza)
    harness.tap.line("Client/Recv", "DEBUG", stanza)
    assert harness.tap.take_refusal() == parsed
    assert harness.tap.take_refusal() is None


def test_type_of_a_placeholder_is_kept_for_its_event(harness: Harness) -> None:
    harness.tap.line("Client", "WARN", 'Unavailable message 3AF0 from 1234567@lid (type: "view_once")')
    assert harness.tap.unavailable_type("3AF0") == "view_once"
    assert harness.tap.unavailable_type("other") == ""


def test_message_that_the_engine_ignores_is_lost_only_if_nobody_recorded_it(harness: Harness) -> None:
    harness.gate.remember(["3AF0"])
    line = "Ignoring message {} from 1@lid: received message with old counter (index: 4, count: 3)"
    harness.tap.line("Client", "WARN", line.format("3AF0"))
    assert harness.lost == []
    harness.tap.line("Client", "WARN", line.format("3AF1"))
    assert harness.lost == ["3AF1"]


def test_parts_of_a_message_are_counted(harness: Harness) -> None:
    stanza = '<message from="1@lid" id="3AF0"><enc type="pkmsg" v="2">a</enc><enc type="skmsg" v="2">b</enc></message>'
    harness.tap.line("Client/Recv", "DEBUG", stanza)
    harness.tap.line("Client", "DEBUG", "Decrypting message from 1@lid")
    harness.gate.recorded("3AF0")
    assert not harness.gate.knows("3AF0")
    harness.gate.recorded("3AF0")
    assert harness.gate.knows("3AF0")


def test_a_login_that_whatsapp_did_not_confirm_is_told_once(harness: Harness) -> None:
    """The engine says "connected" although the connection was lost while it asked for its first answer."""
    assert not harness.tap.take_unconfirmed()
    reason = "websocket disconnected before info query returned response"
    harness.tap.line("Client", "WARN", f"Failed to send post-connect passive IQ: {reason}")
    assert harness.tap.take_unconfirmed()
    assert not harness.tap.take_unconfirmed()


@pytest.mark.parametrize(
    "stanza",
    [
        '<message from="111@lid" id="3A" recipient="222@lid" t="90" type="text"><enc type="msg" v="2"/></message>',
        '<message category="peer" from="49151@s.whatsapp.net" id="3A" t="90" type="text"/>',
        '<message from="1-2@g.us" id="3A" participant="111@lid" t="90" type="text"/>',
        '<receipt from="111@lid" id="3A" recipient="222@lid" t="90" type="read-self"/>',
    ],
)
def test_what_the_phone_does_is_seen_at_the_time_at_which_it_did_it(harness: Harness, stanza: str) -> None:
    harness.tap.line("Client/Recv", "DEBUG", stanza)
    assert harness.tap.times.phone_seen_at is None  # nobody knows yet whose phone it is
    harness.tap.belongs_to("49151:3@s.whatsapp.net", "111:3@lid")
    harness.tap.line("Client/Recv", "DEBUG", stanza)
    assert harness.tap.times.phone_seen_at == 90.0
    harness.tap.line("Client/Recv", "DEBUG", stanza.replace('t="90"', 't="999"'))
    assert harness.tap.times.phone_seen_at == 100.0
    harness.tap.line("Client/Recv", "DEBUG", stanza)
    assert harness.tap.times.phone_seen_at == 100.0


@pytest.mark.parametrize(
    "stanza",
    [
        '<message from="222@lid" id="3A" t="90" type="text"><enc type="msg" v="2"/></message>',
        '<message from="222@lid" id="3A" t="90" type="text"><to from="111@lid"/></message>',
        '<receipt from="111:4@lid" id="3A" recipient="222@lid" t="90" type="read"/>',
        '<notification from="111@lid" id="3A" t="90" type="devices"/>',
    ],
)
def test_contacts_other_devices_and_the_server_are_not_the_phone(harness: Harness, stanza: str) -> None:
    harness.tap.belongs_to("49151:3@s.whatsapp.net", "111:3@lid")
    harness.tap.line("Client/Recv", "DEBUG", stanza)
    assert harness.tap.times.phone_seen_at is None


def test_linking_proves_the_phone(harness: Harness) -> None:
    harness.tap.line("Client/Recv", "DEBUG", '<iq from="s.whatsapp.net" id="1" type="set"><pair-success/></iq>')
    assert harness.tap.times.phone_seen_at == 100.0
