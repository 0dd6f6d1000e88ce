"""Every capture rule alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import Category, MediaKind
from appliance.model_capture import FetchDeleted
from appliance.protocol import CaptureSettings
from appliance.worker.engine.events import Incoming, MediaRef, Quoted, Undecryptable
from appliance.worker.rules import HELD, Decision, Note, content_key, judge, judge_undecryptable

ALICE = "111@lid"
ME = "999@lid"
SETTINGS = CaptureSettings()


def media(kind: MediaKind = MediaKind.IMAGE, **changes: Any) -> MediaRef:
    base = MediaRef(
        kind=kind,
        mimetype="image/jpeg",
        size=1000,
        sha256=b"s" * 32,
        enc_sha256=b"e" * 32,
        media_key=b"k" * 32,
        direct_path="/v/t?x=1",
    )
    return msgspec.structs.replace(base, **changes)


def message(**changes: Any) -> Incoming:
    base = Incoming(id="M1", chat=ALICE, sender=ALICE, from_me=False, sent_at=5.0)
    return msgspec.structs.replace(base, **changes)


def decide(incoming: Incoming, settings: CaptureSettings = SETTINGS, remembered: tuple[Incoming, ...] = ()) -> Decision:
    return judge(incoming, lambda _id: remembered, settings, "anna", 10.0)


def status(**changes: Any) -> Incoming:
    return message(chat="status@broadcast", **changes)


def trigger(text: str = ".vv", **changes: Any) -> Incoming:
    quoted = Quoted(message_id="V1", participant="111:3@lid", view_once=True, media=media())
    return message(id="R1", sender=ME, from_me=True, text=text, quoted=msgspec.structs.replace(quoted, **changes))


@pytest.mark.parametrize("kind", [kind for kind in MediaKind if kind is not MediaKind.TEXT])
def test_status_media_is_fetched(kind: MediaKind) -> None:
    [fetch] = decide(status(media=media(kind, caption="c"))).fetch
    assert (fetch.item.category, fetch.item.kind, fetch.item.caption) == (Category.STATUS, kind, "c")
    assert fetch.item.via == "payload"


def test_status_text_is_stored() -> None:
    [text] = decide(status(text="héllo")).texts
    assert (text.text, text.item.size, text.item.mimetype) == ("héllo", 6, "text/plain; charset=utf-8")


def test_own_status_and_switched_off_statuses_are_not() -> None:
    assert decide(status(text="x", from_me=True)) == Decision()
    assert decide(status(text="x"), CaptureSettings(statuses=False)) == Decision()


def test_ordinary_messages_are_remembered_and_not_fetched() -> None:
    assert decide(message(media=media())) == Decision(remember=True)
    assert decide(message(text="x")) == Decision(remember=True)
    assert decide(message(text="x"), CaptureSettings(deleted=False)) == Decision()
    assert decide(message(text="x", from_me=True)) == Decision()
    assert decide(message(empty=True)) == Decision()


def test_view_once_with_payload_is_fetched() -> None:
    [fetch] = decide(message(view_once=True, media=media())).fetch
    assert fetch.item.category == Category.VIEW_ONCE
    assert decide(message(view_once=True, media=media()), CaptureSettings(view_once=False)) == Decision()
    assert decide(message(view_once=True, media=media(), from_me=True)) == Decision()


def test_view_once_without_keys_is_said() -> None:
    [note] = decide(message(view_once=True, media=media(media_key=b""))).notes
    assert (note.note, note.message_id) == (Note.WITHOUT_KEYS, "M1")


@pytest.mark.parametrize("text", [".vv", " .VV\n"])
def test_trigger_fetches_the_quoted_message(text: str) -> None:
    [fetch] = decide(trigger(text)).fetch
    item = fetch.item
    assert (item.message_id, item.sender, item.via) == ("V1", ALICE, "trigger")


def test_payload_and_trigger_make_the_same_item() -> None:
    by_payload = decide(message(id="V1", view_once=True, media=media())).fetch[0].item
    assert decide(trigger()).fetch[0].item.item == by_payload.item


def test_trigger_to_oneself_keeps_any_media_and_to_others_only_view_once() -> None:
    to_self = msgspec.structs.replace(trigger(view_once=False), chat="999@lid", sender="999:4@lid")
    assert [fetch.item.category for fetch in decide(to_self).fetch] == [Category.VIEW_ONCE]
    by_number = msgspec.structs.replace(to_self, chat="4915@s.whatsapp.net", sender_alt="4915:4@s.whatsapp.net")
    assert decide(by_number).fetch
    [note] = decide(msgspec.structs.replace(to_self, chat=ALICE)).notes
    assert note.note == Note.NOT_VIEW_ONCE


def test_trigger_that_answers_nothing_is_said() -> None:
    [note] = decide(message(id="R1", sender=ME, from_me=True, text=".vv")).notes
    assert (note.note, note.message_id) == (Note.ALONE, "R1")
    assert decide(message(id="R1", sender=ALICE, text=".vv")) == Decision(remember=True)


def test_trigger_of_somebody_else_or_another_word_is_ignored() -> None:
    assert decide(msgspec.structs.replace(trigger(), from_me=False)).fetch == ()
    assert decide(trigger(".v")) == Decision()
    assert decide(trigger("")) == Decision()
    assert decide(trigger(), CaptureSettings(trigger=" ")) == Decision()
    assert decide(trigger(), CaptureSettings(view_once=False)) == Decision()
    assert decide(trigger("!save"), CaptureSettings(trigger="!save")).fetch


def test_trigger_on_what_is_not_view_once_is_said() -> None:
    for changes in ({"view_once": False}, {"media": None}):
        [note] = decide(trigger(**changes)).notes
        assert (note.note, note.message_id) == (Note.NOT_VIEW_ONCE, "V1")


def test_revoke_recovers_text_and_media() -> None:
    revoke = message(id="X1", revokes="M1")
    held = (message(text="one"), message(text="", media=media()))
    decision = decide(revoke, remembered=held)
    assert [text.text for text in decision.texts] == ["one"]
    assert [fetch.item.category for fetch in decision.fetch] == [Category.DELETED]
    assert {decision.texts[0].item.via, decision.fetch[0].item.via} == {"revoke"}


@pytest.mark.parametrize(
    ("revoke", "held"),
    [
        (message(id="X", revokes="M1", chat="222@lid", sender="222@lid"), message(text="a")),
        (message(id="X", revokes="M1", from_me=True), message(text="a")),
        (status(id="X", revokes="M1"), status(text="a")),
    ],
    ids=["another chat", "the user", "a status"],
)
def test_revokes_that_recover_nothing(revoke: Incoming, held: Incoming) -> None:
    assert decide(revoke, remembered=(held,)) == Decision()


def test_revoke_under_the_chats_other_address_is_understood() -> None:
    held = message(text="a", chat="111@lid", chat_alt="491@s.whatsapp.net")
    revoke = message(id="X", revokes="M1", chat="491@s.whatsapp.net", chat_alt="111@lid")
    assert decide(revoke, remembered=(held,)).texts


def test_revoke_with_the_rule_switched_off() -> None:
    revoke = message(id="X", revokes="M1")
    assert decide(revoke, CaptureSettings(deleted=False), (message(text="a"),)) == Decision()


def test_too_large_is_said_and_the_limit_itself_is_not_too_large() -> None:
    limit = CaptureSettings(max_media_bytes=1000)
    assert decide(status(media=media(size=1000)), limit).fetch
    [note] = decide(status(media=media(size=1001)), limit).notes
    assert (note.note, note.kind) == (Note.TOO_LARGE, MediaKind.IMAGE)


def test_placeholder_is_said() -> None:
    seen = Undecryptable(id="V1", chat=ALICE, sender=ALICE, from_me=False, unavailable="view_once")
    [note] = judge_undecryptable(seen).notes
    assert (note.note, note.message_id) == (Note.PLACEHOLDER, "V1")
    assert judge_undecryptable(msgspec.structs.replace(seen, unavailable="")) == Decision()


@given(st.text(max_size=20), st.text(max_size=20), st.booleans())
def test_key_is_of_content_and_place(text: str, other: str, from_me: bool) -> None:
    first = content_key(message(text=text, from_me=from_me))
    assert first == content_key(message(text=text, from_me=from_me, sent_at=7.0))
    assert (first == content_key(message(text=other, from_me=from_me))) == (text == other)
    assert first != content_key(message(text=text, from_me=from_me, id="M2"))
    assert first != content_key(message(text=text, from_me=not from_me))


def test_own_message_from_two_devices_has_one_key() -> None:
    assert content_key(message(from_me=True, sender="999@lid")) == content_key(message(from_me=True, sender="9@pn"))


@given(st.text(max_size=30), st.sampled_from(list(Category)))
def test_item_names_are_safe_file_names_and_repeatable(text: str, category: Category) -> None:
    names = set()
    for _ in range(2):
        incoming = status(id=text, text="x") if category is Category.STATUS else status(id=text + "2", text="x")
        names.add(decide(incoming).texts[0].item.item)
    [name] = names
    assert name.isalnum()
    assert len(name) == 32


@pytest.mark.parametrize("kind", list(MediaKind))
def test_only_the_wanted_kinds_are_kept(kind: MediaKind) -> None:
    given = status(text="x") if kind is MediaKind.TEXT else status(media=media(kind))
    others = tuple(other for other in MediaKind if other is not kind)
    assert decide(given, CaptureSettings(kinds=others)) == Decision()
    assert decide(given, CaptureSettings(kinds=(kind,))) == decide(given)


PHONE = "221771234512@s.whatsapp.net"
GROUP = "1203634000@g.us"
KEPT_OF = {
    "blocked by id": (CaptureSettings(block=("111@lid",)), False),
    "blocked by number": (CaptureSettings(block=("+221771234512",)), False),
    "another one is blocked": (CaptureSettings(block=("+221771234513",)), True),
    "allowed by number": (CaptureSettings(allow=("221771234512",)), True),
    "allowed by full id": (CaptureSettings(allow=(PHONE,)), True),
    "only another one is allowed": (CaptureSettings(allow=("222@lid",)), False),
    "blocked although allowed": (CaptureSettings(allow=("111@lid",), block=("111@lid",)), False),
}


@pytest.mark.parametrize(("settings", "kept"), KEPT_OF.values(), ids=KEPT_OF)
def test_contacts_are_allowed_and_blocked_under_any_of_their_names(settings: CaptureSettings, kept: bool) -> None:
    known = {"sender": "111:7@lid", "sender_alt": PHONE}
    assert bool(decide(status(text="x", **known), settings).texts) is kept
    assert bool(decide(message(view_once=True, media=media(), **known), settings).fetch) is kept
    remembered = message(text="x", chat="111@lid", **known)
    assert decide(remembered, settings).remember is kept
    revoke = message(id="R", revokes="M1", chat="111@lid", **known)
    assert bool(decide(revoke, settings, (remembered,)).texts) is kept


def test_groups_can_be_left_out_or_chosen() -> None:
    said = message(text="x", chat=GROUP)
    assert decide(said).remember
    assert decide(said, CaptureSettings(groups=False)) == Decision()
    assert decide(said, CaptureSettings(allow=(GROUP,))).remember
    assert decide(said, CaptureSettings(block=(GROUP,))) == Decision()
    assert decide(status(text="x"), CaptureSettings(groups=False)).texts, "a status is no group"


@pytest.mark.parametrize("text", ["save", " SAVE ", "👁", "👁\ufe0f"])
def test_words_and_emoji_ask_for_a_view_once_message(text: str) -> None:
    assert decide(trigger(text), CaptureSettings(trigger="save 👁\ufe0f")).fetch
    assert decide(trigger(text)) == Decision()


ARRIVAL = CaptureSettings(fetch_deleted=FetchDeleted.ON_ARRIVAL)


def test_media_is_fetched_on_arrival_if_that_is_wanted() -> None:
    said = message(media=media())
    assert decide(said) == Decision(remember=True)
    [held] = decide(said, ARRIVAL).fetch
    assert (held.item.category, held.media) == (HELD, media())
    [deleted] = decide(message(id="R", revokes="M1"), ARRIVAL, (said,)).fetch
    assert deleted.item.category == Category.DELETED
    assert deleted.item.item != held.item.item


@pytest.mark.parametrize("changes", [{"media_key": b""}, {"size": 64 * 1024 * 1024 + 1}, {"size": 0}])
def test_what_cannot_be_held_is_only_remembered(changes: dict[str, Any]) -> None:
    assert decide(message(media=media(**changes)), ARRIVAL) == Decision(remember=True)
