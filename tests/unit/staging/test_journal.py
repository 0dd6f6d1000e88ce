"""The journal: numbers that only grow, filters, and waiting."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from appliance.staging.control_types import JournalEntry, JournalKind, JournalQuery
from appliance.staging.journal import Journal, _matches
from appliance.staging.store import Store


def test_entries_are_found_by_everything_they_hold(journal: Journal) -> None:
    journal.add(JournalKind.LOGIN, "221771", 1, answer="success", connection=3)
    journal.add(JournalKind.LOGIN, "221772", 2, answer="failure 401", connection=4)
    journal.add(JournalKind.SENT, "221771", None, "3AFF", own=True)

    def found(query: JournalQuery) -> list[int]:
        return [entry.seq for entry in journal.page(query).entries]

    assert found(JournalQuery()) == [1, 2, 3]
    assert found(JournalQuery(after=1)) == [2, 3]
    assert found(JournalQuery(kinds=[JournalKind.LOGIN])) == [1, 2]
    assert found(JournalQuery(account="221771")) == [1, 3]
    assert found(JournalQuery(device=2)) == [2]
    assert found(JournalQuery(message_id="3AFF")) == [3]
    assert found(JournalQuery(data={"answer": "failure 401"})) == [2]
    assert found(JournalQuery(data={"connection": 3})) == [1]
    assert found(JournalQuery(data={"own": True})) == [3]
    assert found(JournalQuery(limit=2)) == [1, 2]


async def test_waiting_ends_with_the_first_match(journal: Journal) -> None:
    query = JournalQuery(kinds=[JournalKind.RECEIPTED], message_id="B", wait_s=10)
    waiting = asyncio.create_task(journal.wait(query))
    await asyncio.sleep(0)
    journal.add(JournalKind.RECEIPTED, "221771", 1, "A")
    journal.add(JournalKind.SENT, "221771", None, "B")
    assert not waiting.done()
    journal.add(JournalKind.RECEIPTED, "221771", 1, "B", type="inactive")
    page = await asyncio.wait_for(waiting, 5)
    assert [(entry.seq, entry.data) for entry in page.entries] == [(3, {"type": "inactive"})]
    assert journal._waiters == {}


async def test_waiting_in_vain_says_so(journal: Journal) -> None:
    page = await journal.wait(JournalQuery(wait_s=0.01))
    assert page.entries == []
    assert journal._waiters == {}


def test_counts_and_numbers_survive(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.db")
    store.open()
    journal = Journal(store)
    journal.add(JournalKind.UNKNOWN_REQUEST, what="w:new")
    store.close()
    store.open()
    again = Journal(store)
    again.load()
    assert again.count(JournalKind.UNKNOWN_REQUEST) == 1
    assert again.add(JournalKind.UNKNOWN_REQUEST, what="w:new") == 2
    assert again.count(JournalKind.UNKNOWN_REQUEST) == 2
    store.close()


_ENTRIES = st.builds(
    JournalEntry,
    seq=st.integers(1, 5),
    at=st.just(0.0),
    kind=st.sampled_from([JournalKind.SENT, JournalKind.LOGIN]),
    account=st.sampled_from(["1", "2"]),
    device=st.sampled_from([None, 1]),
    message_id=st.sampled_from(["", "A"]),
    data=st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["x", 1, True])),
)


@given(
    _ENTRIES,
    st.builds(
        JournalQuery,
        after=st.integers(0, 3),
        kinds=st.lists(st.sampled_from([JournalKind.SENT, JournalKind.LOGIN]), max_size=1),
        account=st.sampled_from(["", "1"]),
        device=st.sampled_from([None, 1]),
        message_id=st.sampled_from(["", "A"]),
        data=st.dictionaries(st.just("a"), st.sampled_from(["x", 1])),
    ),
)
def test_who_waits_is_woken_by_what_the_store_would_find(entry: JournalEntry, query: JournalQuery) -> None:
    store = Store(Path(":memory:"))
    store._path = _InMemory()  # type: ignore[assignment]
    store.open()
    journal = Journal(store)
    for _ in range(entry.seq - 1):
        journal.add(JournalKind.NETWORK_STARTED)
    journal.add(entry.kind, entry.account, entry.device, entry.message_id, **entry.data)
    found = [e for e in journal.page(query).entries if e.seq == entry.seq]
    assert bool(found) is _matches(entry, query)
    store.close()


class _InMemory:
    """A path of a database that is no file."""

    def __fspath__(self) -> str:
        return ":memory:"

    def chmod(self, _mode: int) -> None:
        """There is no file to protect."""
