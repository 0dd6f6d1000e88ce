"""The engine's own protobufs are the judge of our field numbers: what we build they read, what they build we read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import MediaKind
from appliance.staging import messages
from appliance.staging.codec import protobuf
from appliance.staging.codec.errors import DecodeError
from appliance.staging.crypto import media
from appliance.staging.crypto.app_state import AppStateKey
from appliance.staging.crypto.media import MediaType
from appliance.staging.messages import MediaDetails, ProtocolType, ViewOnce
from appliance.worker.engine.protos import e2e_pb as e2e

FIELDS = {
    MediaKind.IMAGE: "imageMessage",
    MediaKind.VIDEO: "videoMessage",
    MediaKind.VIDEO_NOTE: "ptvMessage",
    MediaKind.AUDIO: "audioMessage",
    MediaKind.VOICE: "audioMessage",
    MediaKind.DOCUMENT: "documentMessage",
    MediaKind.STICKER: "stickerMessage",
}
DETAILS = MediaDetails(
    mimetype="a/b",
    direct_path="/v/1?a=b",
    url="https://mmg.whatsapp.net/v/1",
    timestamp=1_700_000_000,
    caption="look",
    view_once=True,
    seconds=7,
    height=480,
    width=640,
    file_name="f.bin",
)


def _engine(message: protobuf.Message) -> Any:
    parsed = e2e.Message()
    parsed.ParseFromString(protobuf.encode(message))
    return parsed


def _media(kind: MediaKind) -> tuple[protobuf.Message, media.EncryptedMedia]:
    file = media.encrypt(b"the file", messages.media_type_of(kind))
    return messages.media(kind, file, DETAILS), file


@pytest.mark.parametrize("kind", FIELDS)
def test_the_engine_reads_every_kind_of_media(kind: MediaKind) -> None:
    message, file = _media(kind)
    parsed = _engine(message)
    assert [field.name for field, _ in parsed.ListFields()] == [FIELDS[kind]]
    content = getattr(parsed, FIELDS[kind])
    assert content.mimetype == DETAILS.mimetype
    assert content.directPath == DETAILS.direct_path
    assert DETAILS.url == content.URL
    assert content.mediaKey == file.media_key
    assert content.fileSHA256 == file.file_sha256
    assert content.fileEncSHA256 == file.file_enc_sha256
    assert content.fileLength == len(b"the file")
    assert content.mediaKeyTimestamp == DETAILS.timestamp
    for name, value in (
        ("caption", "look"),
        ("viewOnce", True),
        ("seconds", 7),
        ("height", 480),
        ("width", 640),
        ("fileName", "f.bin"),
        ("PTT", kind is MediaKind.VOICE),
    ):
        if name in content.DESCRIPTOR.fields_by_name and not (kind is MediaKind.DOCUMENT and name == "viewOnce"):
            assert getattr(content, name) == value, name


@pytest.mark.parametrize("kind", FIELDS)
def test_we_read_what_the_engine_builds(kind: MediaKind) -> None:
    parsed = e2e.Message()
    content = getattr(parsed, FIELDS[kind])
    content.mimetype, content.directPath, content.mediaKey = "a/b", "/p", b"k" * 32
    content.fileSHA256, content.fileEncSHA256, content.fileLength = b"s" * 32, b"e" * 32, 99
    if kind is MediaKind.VOICE:
        content.PTT = True
    content.contextInfo.stanzaID, content.contextInfo.participant = "Q1", "1@lid"
    content.contextInfo.quotedMessage.conversation = "before"
    read = messages.read(parsed.SerializeToString())
    assert read.attachment is not None
    assert read.attachment.kind is kind
    assert read.attachment.media_type is messages.media_type_of(kind)
    assert (read.attachment.mimetype, read.attachment.direct_path, read.attachment.media_key) == (
        "a/b",
        "/p",
        b"k" * 32,
    )
    assert (read.attachment.file_sha256, read.attachment.file_enc_sha256) == (b"s" * 32, b"e" * 32)
    assert (read.attachment.file_length, read.view_once) == (99, False)
    assert read.quoted is not None
    assert (read.quoted.stanza_id, read.quoted.participant) == ("Q1", "1@lid")
    assert messages.read(read.quoted.message).text == "before"


@pytest.mark.parametrize(
    ("wrapper", "name"),
    [
        (ViewOnce.V1, "viewOnceMessage"),
        (ViewOnce.V2, "viewOnceMessageV2"),
        (ViewOnce.V2_EXTENSION, "viewOnceMessageV2Extension"),
    ],
)
def test_view_once_wrappers(wrapper: ViewOnce, name: str) -> None:
    message = messages.view_once(messages.text("inside"), wrapper)
    assert getattr(_engine(message), name).message.conversation == "inside"
    read = messages.read(protobuf.encode(messages.ephemeral(message)))
    assert (read.text, read.view_once) == ("inside", True)


def test_other_wrappers_carry_their_message() -> None:
    document, _ = _media(MediaKind.DOCUMENT)
    parsed = _engine(messages.document_with_caption(document))
    assert parsed.documentWithCaptionMessage.message.documentMessage.caption == "look"
    assert _engine(messages.ephemeral(document)).ephemeralMessage.message.documentMessage.caption == "look"
    assert messages.read(protobuf.encode(messages.document_with_caption(document))).text == "look"


def test_the_mark_inside_counts_as_view_once() -> None:
    image, _ = _media(MediaKind.IMAGE)
    assert messages.read(protobuf.encode(image)).view_once
    document, _ = _media(MediaKind.DOCUMENT)
    assert not messages.read(protobuf.encode(document)).view_once


def test_a_reply_carries_what_it_answers() -> None:
    quoted = messages.view_once(_media(MediaKind.IMAGE)[0])
    reply = messages.reply(
        ".vv", stanza_id="3EB0", participant="1@lid", quoted=quoted, remote_jid="status@broadcast", expiration=86400
    )
    parsed = _engine(reply).extendedTextMessage
    context = parsed.contextInfo
    assert (parsed.text, context.stanzaID, context.participant) == (".vv", "3EB0", "1@lid")
    assert (context.remoteJID, context.expiration) == ("status@broadcast", 86400)
    assert context.quotedMessage.viewOnceMessageV2.message.imageMessage.caption == "look"
    read = messages.read(protobuf.encode(reply))
    assert read.text == ".vv"
    assert read.quoted is not None
    assert messages.read(read.quoted.message).view_once


def test_revoke() -> None:
    message = messages.revoke("120363@g.us", "3EB0", from_me=False, participant="1@lid")
    protocol = _engine(message).protocolMessage
    assert protocol.HasField("type")
    assert protocol.type == e2e.ProtocolMessage.REVOKE
    assert (protocol.key.remoteJID, protocol.key.ID) == ("120363@g.us", "3EB0")
    assert (protocol.key.fromMe, protocol.key.participant) == (False, "1@lid")
    assert messages.read(protobuf.encode(message)).revoked_id == "3EB0"
    assert messages.read(protobuf.encode(messages.text("x"))).revoked_id is None


def test_key_share() -> None:
    key = AppStateKey.generate(1_700_000_000)
    protocol = _engine(messages.key_share(key.share())).protocolMessage
    assert protocol.type == e2e.ProtocolMessage.APP_STATE_SYNC_KEY_SHARE
    (shared,) = protocol.appStateSyncKeyShare.keys
    assert (shared.keyID.keyID, shared.keyData.keyData, shared.keyData.timestamp) == (
        key.key_id,
        key.data,
        1_700_000_000,
    )
    assert list(shared.keyData.fingerprint.deviceIndexes) == [0, 1]
    read = messages.read(protobuf.encode(messages.key_share(key.share())))
    assert read.protocol is not None
    assert read.protocol.int(2) == ProtocolType.APP_STATE_SYNC_KEY_SHARE
    assert read.revoked_id is None


def test_the_copy_for_other_devices_names_its_chat() -> None:
    message = messages.device_sent("1@lid", messages.extended_text("note"), phash="2:abc")
    sent = _engine(message).deviceSentMessage
    assert (sent.destinationJID, sent.message.extendedTextMessage.text, sent.phash) == ("1@lid", "note", "2:abc")
    read = messages.read(protobuf.encode(message))
    assert (read.destination, read.text) == ("1@lid", "note")
    assert messages.read(protobuf.encode(messages.text("x"))).destination is None


def test_a_sender_key_travels_alone_or_with_a_message() -> None:
    alone = messages.with_sender_key("status@broadcast", b"skdm")
    distribution = _engine(alone).senderKeyDistributionMessage
    assert (distribution.groupID, distribution.axolotlSenderKeyDistributionMessage) == ("status@broadcast", b"skdm")
    assert messages.read(protobuf.encode(alone)).sender_key == ("status@broadcast", b"skdm")
    read = messages.read(protobuf.encode(messages.with_sender_key("1@g.us", b"skdm", messages.text("x"))))
    assert (read.sender_key, read.text) == (("1@g.us", b"skdm"), "x")


def test_attributes_of_the_stanza() -> None:
    kinds = [MediaKind.IMAGE, MediaKind.VOICE, MediaKind.VIDEO_NOTE, MediaKind.AUDIO, MediaKind.TEXT]
    assert [messages.enc_mediatype(kind) for kind in kinds] == ["image", "ptt", "ptv", "audio", None]


def test_text_has_no_media_and_keys_are_for_one_kind() -> None:
    with pytest.raises(ValueError, match="kind: text"):
        messages.media_type_of(MediaKind.TEXT)
    with pytest.raises(ValueError, match="encrypted as image"):
        messages.media(MediaKind.VIDEO, media.encrypt(b"", MediaType.IMAGE), DETAILS)


@given(st.binary(max_size=100))
def test_noise_never_raises_anything_else(data: bytes) -> None:
    try:
        messages.read(data)
    except DecodeError:
        return


def test_endless_wrapping_is_stopped() -> None:
    message = messages.text("x")
    for _ in range(9):
        message = messages.view_once(message)
    with pytest.raises(DecodeError, match="inside one another"):
        messages.read(protobuf.encode(message))
