"""The store against a model of it: whatever order events come in, what it shows is what the appliance said last."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import ADVICE, SessionState
from tests.unit.tui.facts import NOW, event, session, store_of
from tui.store import Link, Outcome, Snapshot, Store, Topic


def test_a_delta_changes_state_explanation_and_remedy() -> None:
    store = store_of(session("Awa"), seq=4)
    told = event(5, state="needs_pairing", detail="WhatsApp's code: 401.")
    assert store.apply(told, NOW + 5) is Outcome.APPLIED
    shown = store.sessions["awa"]
    assert (shown.state, shown.detail, shown.since) == (SessionState.NEEDS_PAIRING, "WhatsApp's code: 401.", told.at)
    assert shown.meaning == ADVICE[SessionState.NEEDS_PAIRING].meaning
    assert shown.remedy == "Link it again: amda pair awa --phone +…"
    assert {Topic.SESSIONS, Topic.HOURS} <= store.stale


def test_a_new_detail_does_not_make_the_state_younger() -> None:
    store = store_of(session("Awa"))
    store.apply(event(1, state="online", detail="more"), NOW)
    assert store.sessions["awa"].since == NOW - 3600


def test_a_missing_number_is_a_gap_and_changes_nothing() -> None:
    store = store_of(session("Awa"), seq=4)
    before = store.revision
    assert store.apply(event(6, state="stopped"), NOW) is Outcome.GAP
    assert (store.sessions["awa"].state, store.seq, store.revision) == (SessionState.ONLINE, 4, before)


def test_what_the_snapshot_holds_already_is_not_applied_again() -> None:
    store = store_of(session("Awa"), seq=4)
    assert store.apply(event(4, state="stopped"), NOW) is Outcome.KNOWN
    assert store.sessions["awa"].state is SessionState.ONLINE


def test_states_of_a_newer_release_and_unknown_sessions_are_passed_over() -> None:
    store = store_of(session("Awa"))
    assert store.apply(event(1, state="levitating"), NOW) is Outcome.APPLIED
    assert store.apply(event(2, session="nobody", state="stopped"), NOW) is Outcome.APPLIED
    assert store.apply(event(3, kind="weather.changed", session=None), NOW) is Outcome.APPLIED
    assert (store.sessions["awa"].state, store.seq) == (SessionState.ONLINE, 3)


def test_a_loss_is_shown_with_the_age_of_the_picture() -> None:
    store = store_of(session("Awa"))
    store.lost("nobody answers")
    assert (store.link, store.note, store.age(NOW + 12)) == (Link.GONE, "nobody answers", 12)
    store.heard(NOW + 20)
    assert (store.link, store.note, store.age(NOW + 21)) == (Link.LIVE, "", 1)
    assert Store().age(NOW) is None


def test_what_was_read_and_is_the_same_repaints_nothing() -> None:
    store = store_of(session("Awa"))
    before = store.revision
    store.refresh_sessions([session("Awa")], NOW + 1)
    assert store.revision == before
    store.refresh_sessions([session("Awa", media_bytes=5)], NOW + 2)
    assert store.revision == before + 1


def test_a_frozen_copy_stays_as_it_is() -> None:
    store = store_of(session("Awa"))
    still = store.frozen()
    store.apply(event(1, state="stopped"), NOW)
    assert (still.sessions["awa"].state, store.sessions["awa"].state) == (SessionState.ONLINE, SessionState.STOPPED)


@given(
    st.lists(st.tuples(st.sampled_from(["awa", "binta"]), st.sampled_from(list(SessionState))), max_size=30),
    st.lists(st.integers(0, 29), max_size=6),
    st.integers(0, 29),
)
def test_with_gaps_and_repetitions_the_store_ends_where_the_appliance_is(
    story: list[tuple[str, SessionState]], lost: list[int], repeated: int
) -> None:
    """Events are lost or come twice; at a gap a snapshot of that moment is taken, as the attachment does it."""
    truth = {name.lower(): session(name) for name in ("Awa", "Binta")}
    store = store_of(*truth.values())
    sent = []
    for seq, (name, state) in enumerate(story, start=1):
        truth[name] = msgspec.structs.replace(truth[name], state=state)
        sent.append(event(seq, session=name, state=state.value))
        for told in [*sent[-1:], *sent[repeated : repeated + 1]] if seq - 1 not in lost else []:
            if store.apply(told, NOW) is Outcome.GAP:
                status = store.status
                assert status is not None
                store.load(Snapshot(status=status, sessions=list(truth.values()), seq=seq), NOW)
    if story and len(story) - 1 not in lost:
        assert {name: view.state for name, view in store.sessions.items()} == {
            name: view.state for name, view in truth.items()
        }
