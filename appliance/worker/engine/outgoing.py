"""Arguments of the engine's calls, built from our structs. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from appliance.model import MediaKind
from appliance.protocol import HistoryLimits
from appliance.worker.engine.events import Account, MediaRef
from appliance.worker.engine.protos import companion_pb, e2e_pb, neonize_pb

SELF: Final = "self"
_IMAGE, _VIDEO, _AUDIO, _DOCUMENT = 0, 1, 2, 3
"""MediaType of neonize."""
_TYPES: Final = {
    MediaKind.IMAGE: (_IMAGE, b"image"),
    MediaKind.STICKER: (_IMAGE, b"image"),
    MediaKind.VIDEO: (_VIDEO, b"video"),
    MediaKind.VIDEO_NOTE: (_VIDEO, b"video"),
    MediaKind.AUDIO: (_AUDIO, b"audio"),
    MediaKind.VOICE: (_AUDIO, b"audio"),
    MediaKind.DOCUMENT: (_DOCUMENT, b"document"),
}
"""Kind → key derivation and media host's word. Stickers use the image keys, video notes the video keys; the engine's
own `DownloadAny` knows no video notes, so the path is always given."""

_CHROME: Final = 1
"""PairClientType of whatsmeow. WhatsApp validates the display name: this pair of the two is one it knows."""
_DISPLAY_NAME: Final = "Chrome (Linux)"


class RecipientError(Exception):
    """The text is no JID, or the account is not known yet."""


class OutgoingFile(msgspec.Struct, frozen=True, kw_only=True):
    path: Path
    kind: MediaKind
    mimetype: str
    caption: str = ""


def device_props(limits: HistoryLimits) -> bytes:
    """What this device is to the account, and how much history the phone shall push to it."""
    props = companion_pb.DeviceProps(
        os="Linux",
        platformType=companion_pb.DeviceProps.CHROME,
        requireFullSync=False,
        historySyncConfig=companion_pb.DeviceProps.HistorySyncConfig(
            fullSyncDaysLimit=limits.days,
            fullSyncSizeMbLimit=limits.size_mb,
            storageQuotaMb=limits.quota_mb,
            recentSyncDaysLimit=limits.days,
        ),
    )
    return bytes(props.SerializeToString())


def pair_phone(phone: str) -> bytes:
    """The request for a pairing code for this number, digits with country code."""
    params = neonize_pb.PairPhoneParams(
        phone=phone, showPushNotification=True, clientType=_CHROME, clientDisplayName=_DISPLAY_NAME
    )
    return bytes(params.SerializeToString())


def download_arguments(media: MediaRef) -> tuple[object, ...]:
    """Arguments of DownloadMediaWithPath after the client's name."""
    number, word = _TYPES[media.kind]
    return (
        media.direct_path.encode(),
        *(media.enc_sha256, len(media.enc_sha256)),
        *(media.sha256, len(media.sha256)),
        *(media.media_key, len(media.media_key)),
        0,  # length: ignored by the engine, and an int32 there
        *(number, word),
    )


def upload_type(kind: MediaKind) -> int:
    return _TYPES[kind][0]


def recipient(to: str, account: Account | None) -> bytes:
    """A serialised JID. `self` is the account's own chat, by LID where it has one: by phone number the engine would
    mark the message as a bot's. Raises RecipientError."""
    if to == SELF:
        if account is None:
            raise RecipientError("the account is not known before the first login")
        to = account.lid or account.jid
    user, at, server = to.partition("@")
    user = user.partition(":")[0]
    if not user or not at or not server:
        raise RecipientError("`to` must be a JID like 1234567890@s.whatsapp.net, or `self`")
    jid = neonize_pb.JID(User=user, Server=server, RawAgent=0, Device=0, Integrator=0, IsEmpty=False)
    return bytes(jid.SerializeToString())


def text_message(text: str) -> bytes:
    return bytes(e2e_pb.Message(conversation=text).SerializeToString())


def media_message(file: OutgoingFile, upload: Any) -> bytes:
    """The message for an uploaded file; no thumbnail, which would need an image library in every worker."""
    common = {
        "URL": upload.url,
        "directPath": upload.DirectPath,
        "mediaKey": upload.MediaKey,
        "fileEncSHA256": upload.FileEncSHA256,
        "fileSHA256": upload.FileSHA256,
        "fileLength": upload.FileLength,
        "mimetype": file.mimetype,
    }
    caption = {"caption": file.caption} if file.caption else {}
    match file.kind:
        case MediaKind.IMAGE:
            message = e2e_pb.Message(imageMessage=e2e_pb.ImageMessage(**common, **caption))
        case MediaKind.VIDEO:
            message = e2e_pb.Message(videoMessage=e2e_pb.VideoMessage(**common, **caption))
        case MediaKind.VIDEO_NOTE:
            message = e2e_pb.Message(ptvMessage=e2e_pb.VideoMessage(**common))
        case MediaKind.AUDIO | MediaKind.VOICE:
            voice = file.kind is MediaKind.VOICE
            message = e2e_pb.Message(audioMessage=e2e_pb.AudioMessage(**common, PTT=voice))
        case MediaKind.STICKER:
            message = e2e_pb.Message(stickerMessage=e2e_pb.StickerMessage(**common))
        case _:
            document = e2e_pb.DocumentMessage(**common, **caption, fileName=file.path.name)
            message = e2e_pb.Message(documentMessage=document)
    return bytes(message.SerializeToString())
