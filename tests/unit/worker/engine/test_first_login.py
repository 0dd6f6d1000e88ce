"""The dial that follows linking waits for its turn, and only that one."""

from __future__ import annotations

import threading
import time

from appliance.worker.engine.first_login import FirstLogin

LONG_S = 30.0


def _dial(gate: FirstLogin) -> threading.Thread:
    thread = threading.Thread(target=gate.before_dial, daemon=True)
    thread.start()
    return thread


def _passes(gate: FirstLogin) -> bool:
    thread = _dial(gate)
    thread.join(5)
    return not thread.is_alive()


def test_only_the_dial_after_linking_waits_and_only_until_its_turn() -> None:
    gate = FirstLogin()
    gate.hold(LONG_S)
    assert _passes(gate)  # the connection on which linking is offered
    gate.linked()
    waiting = _dial(gate)
    waiting.join(0.1)
    assert waiting.is_alive()
    gate.go()
    waiting.join(5)
    assert not waiting.is_alive()
    assert _passes(gate)


def test_it_waits_no_longer_than_it_may() -> None:
    gate = FirstLogin()
    gate.hold(0.05)
    gate.linked()
    started = time.monotonic()
    assert _passes(gate)
    assert time.monotonic() - started >= 0.05
    assert _passes(gate)


def test_without_a_limit_nothing_waits() -> None:
    gate = FirstLogin()
    gate.linked()
    assert _passes(gate)
