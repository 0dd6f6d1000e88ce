"""From the engine's protobuf events to our own structs. Pure: bytes in, struct out; hostile content raises
DecodeFailedError at most."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import DecodeError

from appliance.model import MediaKind
from appliance.worker.engine.events import STATUS_CHAT, Incoming, MediaRef, Quoted, RawKind, Undecryptable
from appliance.worker.engine.protos import e2e_pb, neonize_pb

_VIEW_ONCE_WRAPPERS: Final = frozenset({"viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension"})
_WRAPPERS: Final = (
    "ephemeralMessage",
    *sorted(_VIEW_ONCE_WRAPPERS),
    "documentWithCaptionMessage",
    "editedMessage",
    "groupMentionedMessage",
    "associatedChildMessage",
    "groupStatusMessage",
    "groupStatusMessageV2",
    "statusAddYours",
    "lottieStickerMessage",
    "spoilerMessage",
    "botForwardedMessage",
    "questionMessage",
    "questionReplyMessage",
)
"""Fields of Message that hold another Message (FutureProofMessage) with content for a reader."""
_MAX_NESTING: Final = 8
"""Real messages nest three deep (ephemeral, view-once, caption); more is an attack on the stack."""
_MEDIA_FIELDS: Final = (
    ("imageMessage", MediaKind.IMAGE),
    ("videoMessage", MediaKind.VIDEO),
    ("ptvMessage", MediaKind.VIDEO_NOTE),
    ("audioMessage", MediaKind.AUDIO),
    ("documentMessage", MediaKind.DOCUMENT),
    ("stickerMessage", MediaKind.STICKER),
)
_CONTEXT_FIELDS: Final = ("extendedTextMessage", *(name for name, _ in _MEDIA_FIELDS))
_REVOKE: Final = e2e_pb.ProtocolMessage.REVOKE
_MESSAGE_EDIT: Final = e2e_pb.ProtocolMessage.MESSAGE_EDIT


class DecodeFailedError(Exception):
    """The engine handed over something that is no event of that kind; carries no content."""


def bare(jid: Any) -> str:
    """A JID without device part, as text; empty for an empty one."""
    if jid.User:
        return f"{jid.User}@{jid.Server}"
    return str(jid.Server)


def full(jid: Any) -> str:
    """A JID with its device number, as WhatsApp writes it."""
    return f"{jid.User}:{jid.Device}@{jid.Server}" if jid.Device else bare(jid)


def id_of(kind: RawKind, payload: bytes) -> str:
    """The id of the message that an event is about; empty for what is no such event."""
    event = neonize_pb.Message() if kind is RawKind.MESSAGE else neonize_pb.UndecryptableMessage()
    try:
        event.ParseFromString(payload)
    except DecodeError:
        return ""
    return str(event.Info.ID)


def decode_message(payload: bytes) -> Incoming:
    """A Message event. Raises DecodeFailedError."""
    event = neonize_pb.Message()
    try:
        event.ParseFromString(payload)
    except DecodeError as error:
        raise DecodeFailedError("not a message event") from error
    base = _base(event.Info)
    message, wrapped = _unwrap(event.Message)
    protocol = message.protocolMessage if message.HasField("protocolMessage") else None
    if protocol is not None:
        if protocol.type == _REVOKE and protocol.key.ID:
            return Incoming(**base, revokes=protocol.key.ID)
        if protocol.type == _MESSAGE_EDIT and protocol.key.ID:
            content, wrapped = _unwrap(protocol.editedMessage)
            return _with_content(base, content, view_once=wrapped, edits=protocol.key.ID)
        return Incoming(**base, empty=True)
    flagged = event.IsViewOnce or event.IsViewOnceV2 or event.IsViewOnceV2Extension
    return _with_content(base, message, view_once=wrapped or flagged)


def decode_undecryptable(payload: bytes, unavailable: str) -> Undecryptable:
    """An UndecryptableMessage event; `unavailable` is the type that the engine logged with it. Raises
    DecodeFailedError."""
    event = neonize_pb.UndecryptableMessage()
    try:
        event.ParseFromString(payload)
    except DecodeError as error:
        raise DecodeFailedError("not an event of an undecryptable message") from error
    base = _base(event.Info)
    return Undecryptable(
        id=base["id"], chat=base["chat"], sender=base["sender"], from_me=base["from_me"], unavailable=unavailable
    )


def _base(info: Any) -> dict[str, Any]:
    source = info.MessageSource
    alternative = source.RecipientAlt if source.IsFromMe else source.SenderAlt
    chat = bare(source.Chat)
    return {
        "id": info.ID,
        "chat": chat,
        "chat_alt": "" if source.IsGroup or chat == STATUS_CHAT else bare(alternative),
        "sender": bare(source.Sender),
        "sender_alt": "" if source.IsFromMe else bare(source.SenderAlt),
        "from_me": source.IsFromMe,
        "sent_at": info.Timestamp / 1000,  # the engine gives milliseconds
    }


def _with_content(base: dict[str, Any], message: Any, *, view_once: bool, edits: str | None = None) -> Incoming:
    media, flagged = _media(message)
    text = message.conversation or (message.extendedTextMessage.text if message.HasField("extendedTextMessage") else "")
    return Incoming(
        **base,
        text=text,
        media=media,
        view_once=view_once or flagged,
        quoted=_quoted(message),
        edits=edits,
        empty=not text and media is None,
    )


def _unwrap(message: Any) -> tuple[Any, bool]:
    """The innermost message, and whether a view-once wrapper was on the way."""
    view_once = False
    for _ in range(_MAX_NESTING):
        for name in _WRAPPERS:
            if message.HasField(name):
                view_once = view_once or name in _VIEW_ONCE_WRAPPERS
                message = getattr(message, name).message
                break
        else:
            return message, view_once
    return e2e_pb.Message(), view_once


def _media(message: Any) -> tuple[MediaRef | None, bool]:
    """The attachment, and whether its own field says view-once."""
    for name, kind in _MEDIA_FIELDS:
        if not message.HasField(name):
            continue
        media = getattr(message, name)
        if kind is MediaKind.AUDIO and media.PTT:
            kind = MediaKind.VOICE
        ref = MediaRef(
            kind=kind,
            mimetype=media.mimetype,
            size=media.fileLength,
            sha256=media.fileSHA256,
            enc_sha256=media.fileEncSHA256,
            media_key=media.mediaKey,
            direct_path=media.directPath,
            caption=getattr(media, "caption", ""),
            file_name=getattr(media, "fileName", ""),
        )
        return ref, bool(getattr(media, "viewOnce", False))
    return None, False


def _quoted(message: Any) -> Quoted | None:
    for name in _CONTEXT_FIELDS:
        if not message.HasField(name):
            continue
        context = getattr(message, name).contextInfo
        if not context.stanzaID:
            return None
        inner, wrapped = _unwrap(context.quotedMessage)
        media, flagged = _media(inner)
        return Quoted(
            message_id=context.stanzaID,
            participant=context.participant,
            view_once=wrapped or flagged,
            media=media,
        )
    return None
