"""The messages inside the encryption: builders for what phones and contacts send, a reader for what companions send.

Field numbers are those of WhatsApp's Message protobuf. A message under construction is a mapping, so that one can be
put into another (view-once, quoted, sent from the phone); `protobuf.encode` makes the bytes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from appliance.model import MediaKind
from appliance.staging.codec import protobuf
from appliance.staging.codec.errors import DecodeError
from appliance.staging.codec.protobuf import Fields, Message, Value
from appliance.staging.crypto.media import EncryptedMedia, MediaType

_CONVERSATION: Final = 1
_SENDER_KEY_DISTRIBUTION: Final = 2
_EXTENDED_TEXT: Final = 6
_PROTOCOL: Final = 12
_DEVICE_SENT: Final = 31
_EPHEMERAL: Final = 40
_DOCUMENT_WITH_CAPTION: Final = 53
_CONTEXT_INFO: Final = 17
"""Of an ExtendedTextMessage, and of every kind of media."""
_MAX_WRAPPERS: Final = 8
"""Messages inside messages; real ones have three at most."""


class ProtocolType(enum.IntEnum):
    """ProtocolMessage.type: what devices tell each other."""

    REVOKE = 0
    HISTORY_SYNC_NOTIFICATION = 5
    APP_STATE_SYNC_KEY_SHARE = 6
    PEER_DATA_OPERATION_REQUEST = 16
    PEER_DATA_OPERATION_RESPONSE = 17


class ViewOnce(enum.IntEnum):
    """The three wrappers that say "open once"; the value is their field."""

    V1 = 37
    V2 = 55
    V2_EXTENSION = 59
    """For voice messages."""


_WRAPPERS: Final = (*ViewOnce, _EPHEMERAL, _DOCUMENT_WITH_CAPTION)


class _Layout(NamedTuple):
    """Where each kind of media keeps what; None: it has no such field."""

    message: int
    media_type: MediaType
    enc_mediatype: str
    url: int
    mimetype: int
    file_sha256: int
    file_length: int
    media_key: int
    file_enc_sha256: int
    direct_path: int
    timestamp: int
    caption: int | None = None
    view_once: int | None = None
    seconds: int | None = None
    height: int | None = None
    width: int | None = None
    file_name: int | None = None
    voice: int | None = None


_VIDEO: Final = _Layout(9, MediaType.VIDEO, "video", 1, 2, 3, 4, 6, 11, 13, 14, 7, 20, seconds=5, height=9, width=10)
_AUDIO: Final = _Layout(8, MediaType.AUDIO, "audio", 1, 2, 3, 4, 7, 8, 9, 10, view_once=21, seconds=5, voice=6)
_LAYOUTS: Final = {
    MediaKind.IMAGE: _Layout(3, MediaType.IMAGE, "image", 1, 2, 4, 5, 8, 9, 11, 12, 3, 25, height=6, width=7),
    MediaKind.VIDEO: _VIDEO,
    MediaKind.VIDEO_NOTE: _VIDEO._replace(message=66, enc_mediatype="ptv"),
    MediaKind.AUDIO: _AUDIO,
    MediaKind.VOICE: _AUDIO._replace(enc_mediatype="ptt"),
    MediaKind.DOCUMENT: _Layout(7, MediaType.DOCUMENT, "document", 1, 2, 4, 5, 7, 9, 10, 11, 20, file_name=8),
    MediaKind.STICKER: _Layout(26, MediaType.IMAGE, "sticker", 1, 5, 2, 9, 4, 3, 8, 10, height=6, width=7),
}


def media_type_of(kind: MediaKind) -> MediaType:
    """For which keys a kind of media is encrypted. Raises ValueError for text."""
    return _layout(kind).media_type


def enc_mediatype(kind: MediaKind) -> str | None:
    """The `mediatype` attribute of the `<enc>`; None for text. The stanza's type is then `text`, otherwise `media`."""
    return None if kind is MediaKind.TEXT else _layout(kind).enc_mediatype


def _layout(kind: MediaKind) -> _Layout:
    if kind not in _LAYOUTS:
        raise ValueError(f"kind: {kind} has no media")
    return _LAYOUTS[kind]


def text(body: str) -> Message:
    return {_CONVERSATION: body}


def extended_text(body: str, context: Message | None = None) -> Message:
    """Text with room for a context: links, replies, statuses in text."""
    content: dict[int, Value] = {1: body}
    if context is not None:
        content[_CONTEXT_INFO] = context
    return {_EXTENDED_TEXT: content}


def reply(
    body: str, *, stanza_id: str, participant: str, quoted: Message, remote_jid: str = "", expiration: int = 0
) -> Message:
    """A text in answer to the message `stanza_id` of `participant`, which it carries along.

    `remote_jid` is the chat of the quoted message if it is another one, as for a status; `expiration` in seconds says
    that messages of the chat disappear.
    """
    context: dict[int, Value] = {1: stanza_id, 2: participant, 3: quoted}
    if remote_jid:
        context[4] = remote_jid
    if expiration:
        context[25] = expiration
    return extended_text(body, context)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaDetails:
    """What a message tells of a file besides its keys; what a kind of media has no field for is left out."""

    mimetype: str
    direct_path: str
    """On the media host: begins with a slash, and should contain a question mark."""
    url: str = ""
    timestamp: int = 0
    """Seconds; when the media key was made."""
    caption: str = ""
    view_once: bool = False
    """The mark inside; `view_once` adds the wrapper around it."""
    seconds: int = 0
    height: int = 0
    width: int = 0
    file_name: str = ""


def media(kind: MediaKind, file: EncryptedMedia, details: MediaDetails) -> Message:
    """A message with a file that lies on the media host. Raises ValueError for text, or keys of another kind."""
    layout = _layout(kind)
    if file.media_type is not layout.media_type:
        raise ValueError(f"file: encrypted as {file.media_type}, but {kind} needs {layout.media_type}")
    content: dict[int, Value] = {
        layout.mimetype: details.mimetype,
        layout.file_sha256: file.file_sha256,
        layout.file_length: file.file_length,
        layout.media_key: file.media_key,
        layout.file_enc_sha256: file.file_enc_sha256,
        layout.direct_path: details.direct_path,
        layout.timestamp: details.timestamp,
    }
    optional: list[tuple[int | None, Value]] = [
        (layout.url, details.url),
        (layout.caption, details.caption),
        (layout.view_once, details.view_once),
        (layout.seconds, details.seconds),
        (layout.height, details.height),
        (layout.width, details.width),
        (layout.file_name, details.file_name),
        (layout.voice, kind is MediaKind.VOICE),
    ]
    content.update({number: value for number, value in optional if number is not None and value})
    return {layout.message: content}


def view_once(message: Message, wrapper: ViewOnce = ViewOnce.V2) -> Message:
    return {wrapper: {1: message}}


def ephemeral(message: Message) -> Message:
    """In a chat whose messages disappear."""
    return {_EPHEMERAL: {1: message}}


def document_with_caption(document: Message) -> Message:
    """The wrapper that phones put around a document that has a caption."""
    return {_DOCUMENT_WITH_CAPTION: {1: document}}


def revoke(chat: str, message_id: str, *, from_me: bool, participant: str = "") -> Message:
    """Delete for everyone. `participant` is the author, in groups and statuses. The stanza needs edit=7."""
    key: dict[int, Value] = {1: chat, 2: from_me, 3: message_id}
    if participant:
        key[4] = participant
    return protocol(ProtocolType.REVOKE, {1: key})


def protocol(kind: ProtocolType, content: Message) -> Message:
    """A ProtocolMessage; `content` has its other fields."""
    return {_PROTOCOL: {**content, 2: kind}}


def key_share(share: Message) -> Message:
    """What a phone sends so that a companion can read the app state (see AppStateKey.share). The stanza is
    category=peer.
    """
    return protocol(ProtocolType.APP_STATE_SYNC_KEY_SHARE, {7: share})


def device_sent(destination: str, message: Message, phash: str = "") -> Message:
    """The copy that a device sends to the account's others: what it sent to `destination`."""
    content: dict[int, Value] = {1: destination, 2: message}
    if phash:
        content[3] = phash
    return {_DEVICE_SENT: content}


def with_sender_key(group: str, distribution: bytes, message: Message | None = None) -> Message:
    """A SenderKeyDistributionMessage for `group`, alone or with a message."""
    return {_SENDER_KEY_DISTRIBUTION: {1: group, 2: distribution}, **(message or {})}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that a message names."""

    kind: MediaKind
    mimetype: str
    direct_path: str
    media_key: bytes = field(repr=False)
    file_sha256: bytes
    file_enc_sha256: bytes
    file_length: int
    view_once: bool
    """The mark inside; the wrapper is in Content."""

    @property
    def media_type(self) -> MediaType:
        return media_type_of(self.kind)


@dataclass(frozen=True, slots=True)
class Quoted:
    """What a reply refers to."""

    stanza_id: str
    participant: str
    message: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Content:
    """What a decrypted message says, all wrappers taken off."""

    text: str = ""
    """Text, or the caption."""
    attachment: Attachment | None = None
    view_once: bool = False
    """A view-once wrapper was around it, or the mark was inside."""
    quoted: Quoted | None = None
    destination: str | None = None
    """Set if this is the copy for the account's other devices: to whom it was sent."""
    sender_key: tuple[str, bytes] | None = None
    """Group and SenderKeyDistributionMessage."""
    protocol: Fields | None = None
    """The ProtocolMessage; its type is field 2."""

    @property
    def revoked_id(self) -> str | None:
        """Id of the message that is deleted for everyone."""
        if self.protocol is None or self.protocol.int(2) != ProtocolType.REVOKE or not self.protocol.has(1):
            return None
        return self.protocol.message(1).str(3)


def read(message: bytes) -> Content:
    """Read a decrypted, unpadded message. Raises DecodeError."""
    fields = protobuf.decode(message)
    sender_key = _read_sender_key(fields)
    destination: str | None = None
    if fields.has(_DEVICE_SENT):
        sent = fields.message(_DEVICE_SENT)
        destination, fields = sent.str(1), sent.message(2)
    fields, wrapped = _unwrap(fields)
    attachment, body = _read_media(fields)
    return Content(
        text=_read_text(fields) or body.caption,
        attachment=attachment,
        view_once=wrapped or (attachment is not None and attachment.view_once),
        quoted=_read_quoted(fields, body.context),
        destination=destination,
        sender_key=sender_key or _read_sender_key(fields),
        protocol=fields.message(_PROTOCOL) if fields.has(_PROTOCOL) else None,
    )


class _Body(NamedTuple):
    caption: str
    context: Fields | None


def _unwrap(fields: Fields) -> tuple[Fields, bool]:
    view_once_seen = False
    for _ in range(_MAX_WRAPPERS):
        wrapper = next((number for number in _WRAPPERS if fields.has(number)), None)
        if wrapper is None:
            return fields, view_once_seen
        view_once_seen = view_once_seen or isinstance(wrapper, ViewOnce)
        fields = fields.message(wrapper).message(1)
    raise DecodeError(f"more than {_MAX_WRAPPERS} messages inside one another", 0)


def _read_text(fields: Fields) -> str:
    return fields.str(_CONVERSATION) or fields.message(_EXTENDED_TEXT).str(1)


def _read_sender_key(fields: Fields) -> tuple[str, bytes] | None:
    if not fields.has(_SENDER_KEY_DISTRIBUTION):
        return None
    distribution = fields.message(_SENDER_KEY_DISTRIBUTION)
    return distribution.str(1), distribution.bytes(2)


def _read_media(fields: Fields) -> tuple[Attachment | None, _Body]:
    found = next(((kind, layout) for kind, layout in _LAYOUTS.items() if fields.has(layout.message)), None)
    if found is None:
        return None, _Body("", None)
    kind, layout = found
    content = fields.message(layout.message)
    if layout.voice is not None and content.int(layout.voice):
        kind = MediaKind.VOICE
    attachment = Attachment(
        kind,
        content.str(layout.mimetype),
        content.str(layout.direct_path),
        content.bytes(layout.media_key),
        content.bytes(layout.file_sha256),
        content.bytes(layout.file_enc_sha256),
        content.int(layout.file_length),
        layout.view_once is not None and bool(content.int(layout.view_once)),
    )
    caption = content.str(layout.caption) if layout.caption is not None else ""
    return attachment, _Body(caption, content.message(_CONTEXT_INFO))


def _read_quoted(fields: Fields, media_context: Fields | None) -> Quoted | None:
    context = fields.message(_EXTENDED_TEXT).message(_CONTEXT_INFO) if media_context is None else media_context
    if not context.has(3):
        return None
    return Quoted(context.str(1), context.str(2), context.bytes(3))
