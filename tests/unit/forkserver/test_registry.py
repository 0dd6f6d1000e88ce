"""Whatever is asked for, in whatever order: never two workers on one store, never two RUN workers of one session."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from appliance.forkserver.registry import Handover, Registry
from appliance.protocol import WorkerMode, WorkerSpec

sessions, stores = st.sampled_from("ab"), st.sampled_from(["1", "2", "3"])
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("spawn"), st.sampled_from("ab"), st.sampled_from(["1", "2", "3"]), st.sampled_from(WorkerMode)
        ),
        st.tuples(st.just("end"), st.integers(0, 5), st.sampled_from([0, 256, 9, None])),
        st.tuples(st.just("forget"), st.integers(0, 5)),
        st.tuples(st.just("handover")),
    ),
    max_size=40,
)


@given(steps)
def test_no_second_copy_and_no_lost_exit(steps: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        registry, pids = Registry(), itertools.count(100)
        started, told, forgotten = Counter[int](), Counter[int](), Counter[int]()
        for step in steps:
            match step:
                case ("spawn", str(session), str(store), WorkerMode() as mode):
                    spec = make_spec(Path(folder), session, store, mode)
                    if registry.refusal(spec) is None:
                        pid = next(pids)
                        registry.add(spec, pid, 0.0)
                        started[pid] += 1
                case ("end", int(index), status):
                    for worker in registry.workers[index : index + 1]:
                        assert registry.ended(worker.process.pid, 0.0, status if isinstance(status, int) else None)
                        assert registry.ended(worker.process.pid, 0.0, 0) is None
                        told[worker.process.pid] += 1
                case ("forget", int(index)):
                    for exited in registry.exits[index : index + 1]:
                        registry.forget(exited.pid)
                        forgotten[exited.pid] += 1
                case _:
                    handover = Handover(listener=3, socket_path="s", workers=registry.workers, exits=registry.exits)
                    handover = msgspec.json.decode(msgspec.json.encode(handover), type=Handover)
                    registry = Registry(handover.workers, handover.exits)
            living = registry.workers
            assert max(Counter(worker.process.store_folder for worker in living).values(), default=0) <= 1
            running = (worker.process.session for worker in living if worker.mode is WorkerMode.RUN)
            assert max(Counter(running).values(), default=0) <= 1
            assert Counter(worker.process.pid for worker in living) == started - told
            assert Counter(exited.pid for exited in registry.exits) == told - forgotten


def make_spec(folder: Path, session: str, store: str, mode: WorkerMode) -> WorkerSpec:
    place = folder / session / store
    place.mkdir(parents=True, exist_ok=True)
    return WorkerSpec(
        session=session,
        generation=1,
        mode=mode,
        session_folder=str(place.parent),
        store_folder=str(place),
        engine_library="/nonexistent",
    )


def test_how_it_ended(tmp_path: Path) -> None:
    registry = Registry()
    for pid, wait_status, expected in [
        (1, 0, (0, None)),
        (2, 7 << 8, (7, None)),
        (3, 9, (None, 9)),
        (4, None, (None, None)),
    ]:
        registry.add(make_spec(tmp_path, str(pid), "s", WorkerMode.RUN), pid, 1.0)
        exited = registry.ended(pid, 2.0, wait_status)
        assert exited
        assert (exited.status, exited.signal) == expected


def test_a_number_used_twice_is_forgotten_once(tmp_path: Path) -> None:
    registry = Registry()
    for session in ("first", "second"):
        registry.add(make_spec(tmp_path, session, "s", WorkerMode.RUN), 7, 0.0)
        registry.ended(7, 0.0, 0)
    registry.forget(7)
    assert [exited.session for exited in registry.exits] == ["second"]
    registry.forget(8)


def test_a_state_of_a_later_release_can_be_read() -> None:
    later = b'{"listener": 4, "socket_path": "/x", "workers": [], "unknown": {"a": 1}}'
    assert msgspec.json.decode(later, type=Handover).listener == 4
