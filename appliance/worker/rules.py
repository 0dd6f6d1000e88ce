"""Which messages are kept, and as what. Pure: (message, what is remembered, settings) → decision.

Nothing here touches a disk or the engine, so that every rule can be read and tested alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from appliance.model import Category, MediaKind
from appliance.model_capture import FetchDeleted
from appliance.protocol import CaptureNote, CaptureSettings, SpoolItem
from appliance.worker.engine.events import Incoming, MediaRef, Undecryptable

TEXT_MIMETYPE: Final = "text/plain; charset=utf-8"
VIEW_ONCE_TYPE: Final = "view_once"
"""WhatsApp's word in `<unavailable type=…/>`."""


class Note:
    """Words of `CaptureNote.note`."""

    PLACEHOLDER: Final = "view_once_placeholder"
    WITHOUT_KEYS: Final = "view_once_without_keys"
    NOT_VIEW_ONCE: Final = "trigger_on_other_message"
    ALONE: Final = "trigger_without_message"
    TOO_LARGE: Final = "too_large"
    GONE: Final = "gone"
    GAVE_UP: Final = "gave_up"
    DISK_FULL: Final = "disk_full"
    LOST: Final = "lost_in_ack_window"


HELD: Final = "held"
"""Stands for the category of media that is fetched although its message may never be deleted."""
GROUP_SERVER: Final = "@g.us"
_PHONE_SERVER: Final = "@s.whatsapp.net"
_VARIATION: Final = "\ufe0f"
"""Asks for an emoji's coloured form: some phones write it, some do not."""


class Fetch(msgspec.Struct, frozen=True, kw_only=True):
    """An attachment to download; `item` describes what it becomes (its hash and size are those that were announced)."""

    item: SpoolItem
    media: MediaRef


class TextItem(msgspec.Struct, frozen=True, kw_only=True):
    """A text to store as it is."""

    item: SpoolItem
    text: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do about one message. All of it is safe to do twice."""

    fetch: tuple[Fetch, ...] = ()
    texts: tuple[TextItem, ...] = ()
    notes: tuple[CaptureNote, ...] = ()
    remember: bool = False


NOTHING: Final = Decision()
Recall = Callable[[str], Sequence[Incoming]]
"""Remembered messages with this id, oldest first (an edited message has several)."""


def content_key(message: Incoming) -> bytes:
    """Identity of a message for de-duplication: the same id comes twice with different content (a sender key first,
    then the message), and twice with the same (relayed copies, repeats)."""
    body = msgspec.msgpack.encode(
        (message.text, message.media and message.media.enc_sha256, message.revokes, message.edits, message.view_once)
    )
    sender = "me" if message.from_me else message.sender
    parts = (message.chat.encode(), sender.encode(), message.id.encode(), body)
    return hashlib.sha256(b"\0".join(parts)).digest()[:16]


def judge(message: Incoming, recall: Recall, settings: CaptureSettings, session: str, now: float) -> Decision:
    """What to keep of a message that has not been seen before."""
    if message.empty:
        return NOTHING
    context = _Context(settings, session, now)
    if message.revokes is not None:
        return _revoke(message, recall, context)
    if message.from_me:
        return _own(message, context)
    if not wanted(message, settings):
        return NOTHING
    if message.is_status:
        return context.keep(message, Category.STATUS) if settings.statuses else NOTHING
    if message.view_once:
        return _view_once(message, context)
    return _ordinary(message, context)


def wanted(message: Incoming, settings: CaptureSettings) -> bool:
    """Whether the settings let messages of this sender, in this chat, be kept."""
    if not settings.groups and message.chat.endswith(GROUP_SERVER):
        return False
    if not settings.allow and not settings.block:
        return True
    names = {_name(jid) for jid in (message.sender, message.sender_alt, message.chat, message.chat_alt) if jid}
    if names & {_name(contact) for contact in settings.block}:
        return False
    return not settings.allow or bool(names & {_name(contact) for contact in settings.allow})


def _name(contact: str) -> str:
    """The one way to write a contact: a phone number without plus and server; an id as it is."""
    return _bare(contact).removesuffix(_PHONE_SERVER).lstrip("+")


def judge_undecryptable(message: Undecryptable) -> Decision:
    """A placeholder is worth telling: the user can still answer it with the trigger."""
    if message.unavailable == VIEW_ONCE_TYPE and not message.from_me:
        return Decision(notes=(CaptureNote(note=Note.PLACEHOLDER, message_id=message.id),))
    return NOTHING


class _Context:
    def __init__(self, settings: CaptureSettings, session: str, now: float) -> None:
        self.settings = settings
        self._session = session
        self._now = now

    def keep(self, message: Incoming, category: Category, via: str = "payload") -> Decision:
        """Store the text, fetch the attachment, or say why not."""
        if message.media is not None:
            return self.fetch(message, message.media, category, via)
        if not message.text or MediaKind.TEXT not in self.settings.kinds:
            return NOTHING
        data = message.text.encode()
        digest = hashlib.sha256(data).digest()
        item = self._item(message, category, via, MediaKind.TEXT, TEXT_MIMETYPE, digest, len(data))
        return Decision(texts=(TextItem(item=item, text=message.text),))

    def fetch(self, message: Incoming, media: MediaRef, category: Category, via: str) -> Decision:
        if media.kind not in self.settings.kinds:
            return NOTHING
        if not media.fetchable:
            return self._note(
                Note.WITHOUT_KEYS if category is Category.VIEW_ONCE else Note.GONE, message.id, media.kind
            )
        if media.size > self.settings.max_media_bytes:
            return self._note(Note.TOO_LARGE, message.id, media.kind)
        item = self._item(message, category, via, media.kind, media.mimetype, media.sha256, media.size)
        item = msgspec.structs.replace(item, caption=media.caption, file_name=media.file_name)
        return Decision(fetch=(Fetch(item=item, media=media),))

    def hold(self, message: Incoming, media: MediaRef) -> tuple[Fetch, ...]:
        """Fetch it now, so that it is there when the message is deleted."""
        if not media.fetchable or not 0 < media.size <= self.settings.max_media_bytes:
            return ()
        if media.kind not in self.settings.kinds or media.size > self.settings.keep_bytes:
            return ()
        item = self._item(message, HELD, "payload", media.kind, media.mimetype, media.sha256, media.size)
        return (Fetch(item=item, media=media),)

    def _note(self, note: str, message_id: str, kind: MediaKind | None = None) -> Decision:
        return Decision(notes=(CaptureNote(note=note, message_id=message_id, kind=kind),))

    def _item(
        self, message: Incoming, category: str, via: str, kind: MediaKind, mimetype: str, digest: bytes, size: int
    ) -> SpoolItem:
        # Deterministic: whatever is done again after a crash overwrites itself.
        parts = (str(category), message.chat, message.sender, message.id, digest.hex())
        return SpoolItem(
            item=hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32],
            session=self._session,
            category=str(category),
            kind=kind,
            mimetype=mimetype,
            sha256=digest.hex(),
            size=size,
            message_id=message.id,
            chat=message.chat,
            sender=message.sender,
            sender_alt=message.sender_alt,
            sent_at=message.sent_at,
            captured_at=self._now,
            via=via,
        )


def _view_once(message: Incoming, context: _Context) -> Decision:
    if not context.settings.view_once or message.media is None:
        return NOTHING
    return context.fetch(message, message.media, Category.VIEW_ONCE, "payload")


def _ordinary(message: Incoming, context: _Context) -> Decision:
    """Remember it, for the case that it is deleted."""
    settings = context.settings
    if not settings.deleted or not (message.text or message.media):
        return NOTHING
    held = message.media is not None and settings.fetch_deleted is FetchDeleted.ON_ARRIVAL
    return Decision(remember=True, fetch=context.hold(message, message.media) if held and message.media else ())


def is_trigger(text: str, triggers: str) -> bool:
    """Whether a reply is one of the words or emoji by which a view-once message is asked for.

    >>> is_trigger(" .VV ", ".vv 👁"), is_trigger("👁\ufe0f", ".vv 👁"), is_trigger("nice", ".vv 👁")
    (True, True, False)
    """
    return _plain(text) in _plain(triggers).split()


def _plain(text: str) -> str:
    return text.strip().casefold().replace(_VARIATION, "")


def _own(message: Incoming, context: _Context) -> Decision:
    """Of the account's own messages only the trigger matters: a reply to somebody's view-once message. In the chat with
    oneself it is a reply to any media, so that it can be tried, and rehearsed, without a second phone."""
    quoted = message.quoted
    if not context.settings.view_once or not is_trigger(message.text, context.settings.trigger):
        return NOTHING
    if quoted is None:
        return Decision(notes=(CaptureNote(note=Note.ALONE, message_id=message.id),))
    if quoted.media is None or not (quoted.view_once or _to_self(message)):
        kind = quoted.media.kind if quoted.media else None
        return Decision(notes=(CaptureNote(note=Note.NOT_VIEW_ONCE, message_id=quoted.message_id, kind=kind),))
    original = Incoming(
        id=quoted.message_id,
        chat=message.chat,
        sender=_bare(quoted.participant) or message.chat,
        from_me=False,
        sent_at=message.sent_at,
    )
    return context.fetch(original, quoted.media, Category.VIEW_ONCE, "trigger")


def _to_self(message: Incoming) -> bool:
    """Whether it was written in the chat with oneself, whichever of the two addresses names it."""
    author = {_bare(jid) for jid in (message.sender, message.sender_alt) if jid}
    return not author.isdisjoint(_bare(jid) for jid in (message.chat, message.chat_alt) if jid)


def _revoke(message: Incoming, recall: Recall, context: _Context) -> Decision:
    """Somebody deletes for everyone. Only what was said in the same chat, and not what the user deletes themselves."""
    if not context.settings.deleted or message.from_me or message.is_status:
        return NOTHING  # a status has been captured when it came
    names = {name for name in (message.chat, message.chat_alt) if name}
    remembered = recall(message.revokes or "")
    found = [m for m in remembered if names & {m.chat, m.chat_alt} and wanted(m, context.settings)]
    if not found:
        return NOTHING
    kept = [context.keep(m, Category.DELETED, "revoke") for m in found]
    return Decision(
        fetch=tuple(fetch for decision in kept for fetch in decision.fetch),
        texts=tuple(text for decision in kept for text in decision.texts),
        notes=tuple(note for decision in kept for note in decision.notes),
    )


def _bare(jid: str) -> str:
    user, at, server = jid.partition("@")
    return f"{user.partition(':')[0]}{at}{server}"
