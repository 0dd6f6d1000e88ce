"""Real protobuf events in, our structs out; hostile bytes do no harm."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import MediaKind
from appliance.worker.engine.decode import DecodeFailedError, decode_message, decode_undecryptable, id_of
from appliance.worker.engine.events import RawKind
from appliance.worker.engine.protos import e2e_pb, neonize_pb


def jid(user: str, server: str = "lid", device: int = 0) -> Any:
    return neonize_pb.JID(User=user, Server=server, RawAgent=0, Device=device, Integrator=0)


def info(*, from_me: bool = False, chat: Any = None, group: bool = False) -> Any:
    source = neonize_pb.MessageSource(
        Chat=chat or jid("111"),
        Sender=jid("999", device=2) if from_me else jid("111", device=3),
        IsFromMe=from_me,
        IsGroup=group,
        SenderAlt=jid("491", "s.whatsapp.net"),
        RecipientAlt=jid("492", "s.whatsapp.net"),
        BroadcastListOwner=jid("", ""),
    )
    return neonize_pb.MessageInfo(
        MessageSource=source,
        ID="M1",
        ServerID=0,
        Type="text",
        Pushname="A",
        Timestamp=1_700_000_000_500,
        Category="",
        Multicast=False,
        MediaType="",
        Edit="",
    )


def event(message: Any, *, view_once: bool = False, **about: Any) -> bytes:
    return bytes(
        neonize_pb.Message(
            Info=info(**about),
            Message=message,
            IsEphemeral=False,
            IsViewOnce=view_once,
            IsViewOnceV2=False,
            IsViewOnceV2Extension=False,
            IsDocumentWithCaption=False,
            IsLottieSticker=False,
            IsEdit=False,
            UnavailableRequestID="",
            RetryCount=0,
        ).SerializeToString()
    )


def image(**changes: Any) -> Any:
    return e2e_pb.ImageMessage(
        mimetype="image/jpeg",
        fileLength=7,
        fileSHA256=b"s",
        fileEncSHA256=b"e",
        mediaKey=b"k",
        directPath="/p?",
        caption="c",
        **changes,
    )


def wrapped(name: str, message: Any) -> Any:
    return e2e_pb.Message(**{name: e2e_pb.FutureProofMessage(message=message)})


def test_text_and_addresses() -> None:
    found = decode_message(event(e2e_pb.Message(conversation="hi")))
    assert (found.text, found.chat, found.sender, found.from_me) == ("hi", "111@lid", "111@lid", False)
    assert (found.chat_alt, found.sender_alt) == ("491@s.whatsapp.net", "491@s.whatsapp.net")
    assert found.sent_at == 1_700_000_000.5


def test_own_message_has_the_recipients_other_address() -> None:
    extended = e2e_pb.Message(extendedTextMessage=e2e_pb.ExtendedTextMessage(text="hi"))
    found = decode_message(event(extended, from_me=True))
    assert (found.text, found.from_me, found.chat_alt) == ("hi", True, "492@s.whatsapp.net")


def test_group_and_status_have_no_other_address() -> None:
    found = decode_message(event(e2e_pb.Message(conversation="x"), chat=jid("7", "g.us"), group=True))
    assert (found.chat, found.chat_alt) == ("7@g.us", "")
    found = decode_message(event(e2e_pb.Message(conversation="x"), chat=jid("status", "broadcast"), group=True))
    assert found.is_status


@pytest.mark.parametrize(
    ("field", "content", "kind"),
    [
        ("imageMessage", image(), MediaKind.IMAGE),
        ("videoMessage", e2e_pb.VideoMessage(mediaKey=b"k", directPath="/p"), MediaKind.VIDEO),
        ("ptvMessage", e2e_pb.VideoMessage(mediaKey=b"k", directPath="/p"), MediaKind.VIDEO_NOTE),
        ("audioMessage", e2e_pb.AudioMessage(mediaKey=b"k", directPath="/p"), MediaKind.AUDIO),
        ("audioMessage", e2e_pb.AudioMessage(mediaKey=b"k", directPath="/p", PTT=True), MediaKind.VOICE),
        ("documentMessage", e2e_pb.DocumentMessage(mediaKey=b"k", directPath="/p", fileName="f"), MediaKind.DOCUMENT),
        ("stickerMessage", e2e_pb.StickerMessage(mediaKey=b"k", directPath="/p"), MediaKind.STICKER),
    ],
)
def test_media_kinds(field: str, content: Any, kind: MediaKind) -> None:
    found = decode_message(event(e2e_pb.Message(**{field: content})))
    assert found.media is not None
    assert (found.media.kind, found.media.fetchable) == (kind, True)


@pytest.mark.parametrize("wrapper", ["viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension"])
def test_view_once_in_any_form(wrapper: str) -> None:
    inside = wrapped("ephemeralMessage", wrapped(wrapper, e2e_pb.Message(imageMessage=image())))
    for message, flag in ((inside, False), (e2e_pb.Message(imageMessage=image()), True)):
        found = decode_message(event(message, view_once=flag))
        assert found.view_once
        assert found.media is not None
    assert decode_message(event(e2e_pb.Message(imageMessage=image(viewOnce=True)))).view_once
    assert not decode_message(event(e2e_pb.Message(imageMessage=image()))).view_once


@pytest.mark.parametrize("wrapper", [None, "viewOnceMessage", "viewOnceMessageV2"])
def test_reply_with_a_quoted_view_once(wrapper: str | None) -> None:
    quoted = e2e_pb.Message(imageMessage=image(viewOnce=wrapper is None))
    context = e2e_pb.ContextInfo(
        stanzaID="V1", participant="111@lid", quotedMessage=wrapped(wrapper, quoted) if wrapper else quoted
    )
    reply = e2e_pb.Message(extendedTextMessage=e2e_pb.ExtendedTextMessage(text=".vv", contextInfo=context))
    found = decode_message(event(wrapped("ephemeralMessage", reply), from_me=True))
    assert found.quoted is not None
    assert (found.quoted.message_id, found.quoted.view_once) == ("V1", True)
    assert found.quoted.media is not None
    assert found.quoted.media.media_key == b"k"


def test_revoke_edit_and_what_is_neither() -> None:
    key = neonize_pb.Message().Message.protocolMessage.key.__class__(ID="OLD")
    revoke = e2e_pb.Message(protocolMessage=e2e_pb.ProtocolMessage(key=key, type=e2e_pb.ProtocolMessage.REVOKE))
    assert decode_message(event(revoke)).revokes == "OLD"
    edit = e2e_pb.ProtocolMessage(
        key=key, type=e2e_pb.ProtocolMessage.MESSAGE_EDIT, editedMessage=e2e_pb.Message(conversation="new")
    )
    found = decode_message(event(e2e_pb.Message(protocolMessage=edit)))
    assert (found.edits, found.text) == ("OLD", "new")
    other = e2e_pb.ProtocolMessage(type=e2e_pb.ProtocolMessage.APP_STATE_SYNC_KEY_SHARE)
    assert decode_message(event(e2e_pb.Message(protocolMessage=other))).empty


def test_sender_key_alone_is_empty() -> None:
    keys = e2e_pb.SenderKeyDistributionMessage(groupID="status@broadcast")
    assert decode_message(event(e2e_pb.Message(senderKeyDistributionMessage=keys))).empty


def test_nesting_is_bounded() -> None:
    message = e2e_pb.Message(conversation="deep")
    for _ in range(30):
        message = wrapped("ephemeralMessage", message)
    assert decode_message(event(message)).empty


@given(st.binary(max_size=200))
def test_hostile_bytes(data: bytes) -> None:
    for decode in (decode_message, lambda raw: decode_undecryptable(raw, "")):
        try:
            decode(data)
        except DecodeFailedError:
            continue


def test_undecryptable() -> None:
    raw = neonize_pb.UndecryptableMessage(Info=info(), IsUnavailable=True, DecryptFailMode=1).SerializeToString()
    found = decode_undecryptable(bytes(raw), "view_once")
    assert (found.id, found.sender, found.unavailable) == ("M1", "111@lid", "view_once")


def test_the_id_of_an_event_and_of_what_is_none() -> None:
    assert id_of(RawKind.MESSAGE, event(e2e_pb.Message(conversation="hello"))) == "M1"
    assert id_of(RawKind.UNDECRYPTABLE, b"\xff\xff") == ""
