"""What is due, worked out from journals written by hand."""

from __future__ import annotations

from appliance.model import Category
from appliance.staging.captures import captures_due
from appliance.staging.control_types import JournalKind
from appliance.staging.journal import Journal
from appliance.staging.store import Store

ACCOUNT = "221771000010"


def sent(journal: Journal, message_id: str, category: str = "", **more: str | int | bool) -> None:
    data = {"kind": "image", "sha256": f"hash of {message_id}", "size": 5} | more
    journal.add(JournalKind.SENT, ACCOUNT, None, message_id, category=category, **data)


def receipted(journal: Journal, message_id: str) -> None:
    journal.add(JournalKind.RECEIPTED, ACCOUNT, 1, message_id)


def test_statuses_view_once_trigger_and_deleted(store: Store, journal: Journal) -> None:
    sent(journal, "status", Category.STATUS)
    sent(journal, "opened", Category.VIEW_ONCE)
    sent(journal, "hidden")
    sent(journal, "chat")
    sent(journal, "reply", Category.VIEW_ONCE, quotes="hidden", kind="text")
    sent(journal, "revoke", Category.DELETED, revokes="chat", kind="text")
    for message_id in ("status", "opened", "reply", "revoke"):
        receipted(journal, message_id)
    due = {(item.category, item.message_id): item for item in captures_due(store, ACCOUNT)}
    assert set(due) == {
        (Category.STATUS, "status"),
        (Category.VIEW_ONCE, "opened"),
        (Category.VIEW_ONCE, "hidden"),
        (Category.DELETED, "chat"),
    }
    hidden, deleted = due[Category.VIEW_ONCE, "hidden"], due[Category.DELETED, "chat"]
    assert (hidden.sha256, hidden.due_by, hidden.kind) == ("hash of hidden", "reply", "image")
    assert hidden.receipted_at is not None, "a placeholder is never receipted; the reply is enough"
    assert deleted.receipted_at is None, "the deleted message itself was never receipted"
    receipted(journal, "chat")
    assert all(item.receipted_at for item in captures_due(store, ACCOUNT))


def test_asked_for_twice_is_due_once(store: Store, journal: Journal) -> None:
    sent(journal, "opened", Category.VIEW_ONCE)
    sent(journal, "reply", Category.VIEW_ONCE, quotes="opened", kind="text")
    (item,) = captures_due(store, ACCOUNT)
    assert item.due_by == "opened"


def test_other_accounts_and_ordinary_messages_are_not_due(store: Store, journal: Journal) -> None:
    sent(journal, "chat")
    journal.add(JournalKind.SENT, "221772", None, "theirs", category="statuses", kind="image", sha256="", size=1)
    assert captures_due(store, ACCOUNT) == []
