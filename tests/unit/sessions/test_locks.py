"""One operation at a time, and the second one hears who is first."""

from __future__ import annotations

import pytest

from appliance.problems import ProblemError
from appliance.sessions.locks import OperationLocks
from appliance.sessions.ownership import SingleNode


def test_the_loser_hears_who_holds_it() -> None:
    times = iter([10.0, 52.0])
    locks = OperationLocks(lambda: next(times))
    locks.acquire("anna", "pair")
    with pytest.raises(ProblemError, match=r"pair is under way for 42 s") as caught:
        locks.acquire("anna", "remove")
    assert caught.value.problem.status == 409
    assert locks.holder("anna") == "pair"


def test_sessions_do_not_hinder_each_other_and_a_block_gives_back() -> None:
    locks = OperationLocks()
    with locks.hold("anna", "stop"), locks.hold("berta", "stop"):
        assert locks.holder("berta") == "stop"
    with pytest.raises(ValueError), locks.hold("anna", "start"):
        raise ValueError
    assert locks.holder("anna") is None
    locks.release("anna")


def test_one_machine_owns_everything() -> None:
    assert SingleNode().may_run("anna", "another-node")
