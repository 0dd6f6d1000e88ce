"""Whatever happens in whatever order: never two copies, never `online` without evidence, one row for each loss, and no
retry without a bound."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from appliance.model import SessionState
from appliance.protocol import SignalKind
from appliance.sessions import inputs as i
from appliance.sessions.memory import Phase
from appliance.sessions.policy import HOUR_S
from appliance.sessions.reasons import DisconnectReason
from tests.unit.sessions.world import RECONNECT, World

K = SignalKind
UNCHARGED_STARTS_AN_HOUR = 40
"""With chance at one half: ten tries until the backoff has reached its cap, then one in 150 s; ends of pauses too."""
DIALS_AN_HOUR = 130
"""The same when WhatsApp is not reached at all: one in 30 s."""

LOSSES = (
    (K.DISCONNECTED, None),
    (K.STREAM_ERROR, 500),
    (K.STREAM_ERROR, 503),
    (K.STREAM_ERROR, 515),
    (K.CONNECT_FAILURE, 503),
    (K.CONNECT_FAILURE, 409),
    (K.DIAL_FAILED, None),
    (K.ENGINE_ENDED, None),
)
ENDS = (
    (K.STREAM_REPLACED, None),
    (K.LOGGED_OUT, 401),
    (K.LOGGED_OUT, 406),
    (K.TEMPORARY_BAN, 402),
    (K.CLIENT_OUTDATED, 405),
)


class AnySession(RuleBasedStateMachine):
    """The world is consistent: only what a real supervisor, worker or network could do is done."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.greeted = False

    @initialize(online=st.booleans())
    def begin(self, online: bool) -> None:
        """Half of all lives begin online: the way there takes six steps of the forty."""
        if online:
            self.world.online(hold_s=100.0)
            self.greeted = True

    # ---- commands ----

    @rule()
    def start(self) -> None:
        self.world.feed(i.Start())

    @rule()
    def stop(self) -> None:
        self.world.feed(i.Stop())

    @rule()
    def restart(self) -> None:
        self.world.feed(i.Restart())

    @rule()
    def nudge(self) -> None:
        self.world.feed(i.Nudge())

    @rule()
    def excuse(self) -> None:
        self.world.feed(i.Excused(window_s=60.0))

    # ---- the course of a process ----

    @precondition(lambda self: self.world.asked)
    @rule()
    def grant(self) -> None:
        self.world.grant()

    @precondition(lambda self: self.world.must_spawn)
    @rule(outcome=st.sampled_from(["forked", "forked", "forked", "refused", "lost"]))
    def fork(self, outcome: str) -> None:
        if outcome == "forked":
            self.world.spawn()
            self.greeted = False
        else:
            self.world.must_spawn = False
            self.world.feed(i.SpawnFailed(error="no", lost=outcome == "lost"))

    @precondition(lambda self: self.world.alive())
    @rule()
    def greet(self) -> None:
        self.world.greet()
        self.greeted = True

    @precondition(lambda self: self.world.must_end)
    @rule()
    def end_as_told(self) -> None:
        self.world.finish_end()

    @precondition(lambda self: self.world.alive())
    @rule(status=st.sampled_from([0, 1, 42, 43, 44]), lost=st.booleans())
    def die(self, status: int, lost: bool) -> None:
        pid = self.world.worker.pid
        self.world.die(told=False)
        self.world.feed(i.Exited(pid=pid, status=status, lost=lost))

    @precondition(lambda self: self.world.alive())
    @rule()
    def kill(self) -> None:
        self.world.die()

    # ---- the network ----

    @precondition(lambda self: self.world.alive())
    @rule()
    def login(self) -> None:
        self.world.advance(1.5)
        if self.world.alive():
            self.world.login()

    @precondition(lambda self: self.world.alive())
    @rule(loss=st.sampled_from(LOSSES))
    def lose(self, loss: tuple[SignalKind, int | None]) -> None:
        self.world.signal(*loss)

    @precondition(lambda self: self.world.alive())
    @rule(end=st.sampled_from(ENDS))
    def lose_for_good(self, end: tuple[SignalKind, int | None]) -> None:
        self.world.signal(*end)

    @precondition(lambda self: self.world.alive() and self.greeted)
    @rule()
    def deliver(self) -> None:
        self.world.deliver()

    # ---- health ----

    @precondition(lambda self: self.world.alive())
    @rule()
    def doubt(self) -> None:
        self.world.feed(i.Doubt(pid=self.world.worker.pid, text="silence"))

    @precondition(lambda self: self.world.probes)
    @rule(answered=st.booleans())
    def probed(self, answered: bool) -> None:
        self.world.feed(i.Probed(pid=self.world.probes.pop(0), error=None if answered else "no answer"))

    @precondition(lambda self: self.world.state is SessionState.ONLINE and not self.world.probes)
    @rule()
    def half_open(self) -> None:
        self.doubt()
        if self.world.probes:
            self.probed(answered=False)

    @precondition(lambda self: self.world.alive())
    @rule(reason=st.sampled_from([DisconnectReason.PROCESS_SILENT, DisconnectReason.MEMORY]))
    def condemn(self, reason: DisconnectReason) -> None:
        self.world.feed(i.Condemned(pid=self.world.worker.pid, reason=reason, text="proof"))

    # ---- time and the daemon ----

    @rule(seconds=st.sampled_from([0.5, 5.0, 31.0, 70.0, 700.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule()
    def new_daemon(self) -> None:
        self.world.restart_daemon()
        self.greeted = False

    @rule(outage=st.booleans())
    def outage(self, outage: bool) -> None:
        self.world.outage = outage

    # ---- what must hold ----

    @invariant()
    def never_two_copies(self) -> None:
        assert len(self.world.alive()) <= 1
        machine = self.world.machine
        if machine.phase in (Phase.IDLE, Phase.QUEUED, Phase.SPAWNING) and not self.world.must_spawn:
            assert not self.world.alive() or machine.phase is Phase.SPAWNING

    @invariant()
    def online_only_with_a_living_login(self) -> None:
        """A process that was told to end is shown as it was until its end is proved; its connection has its row."""
        if self.world.state is SessionState.ONLINE:
            assert self.world.machine.phase in (Phase.RUNNING, Phase.ENDING)
            assert self.world.machine.memory.live_at is not None or self.world.machine.phase is Phase.ENDING
            known = {worker.pid for worker in self.world.alive()}
            assert self.world.machine.pid in known

    @invariant()
    def at_most_one_probe(self) -> None:
        assert len(set(self.world.probes)) == len(self.world.probes)

    @invariant()
    def no_row_too_many(self) -> None:
        """The row of a connection that is being ended stands before the network has seen its end."""
        world = self.world
        ending = world.machine.phase is Phase.ENDING and any(worker.connected_at for worker in world.alive())
        assert len(world.rows) <= len(world.losses) + ending

    @invariant()
    def something_is_always_awaited(self) -> None:
        """A session that is wanted and could run never sits there with nothing to come."""
        world, machine = self.world, self.world.machine
        waits = machine.wake_at is not None or world.asked or world.must_spawn or world.must_end or world.alive()
        settled = world.state in (
            SessionState.REPLACED,
            SessionState.NEEDS_PAIRING,
            SessionState.BANNED,
            SessionState.OUTDATED,
            SessionState.FAILED,
            SessionState.STOPPED,
        )
        assert waits or settled
        assert machine.memory.wanted or world.state is not SessionState.RECONNECTING or world.alive() or waits

    def teardown(self) -> None:
        """When all that was recorded has been read, the ledger and the network agree to the row."""
        world = self.world
        if world.alive():
            world.greet()
            world.deliver()
        if world.alive():
            world.die()
        world.must_end.clear()
        if world.outbox:  # a last process on the store only hands over what it finds
            world.feed(i.Stop())
            pid = 9999
            for event in world.outbox:
                world.feed(i.Got(pid=pid, event=event, past=True))
        last = world.machine.memory.past_at
        assert len(world.rows) + (last is not None) == len(world.losses)


TestAnySession = AnySession.TestCase
TestAnySession.settings = settings(stateful_step_count=40)


@pytest.mark.parametrize("kind", [K.DIAL_FAILED, K.DISCONNECTED, K.CONNECT_FAILURE, K.STREAM_ERROR, K.ENGINE_ENDED])
@pytest.mark.parametrize("code", [None, 503, 409])
@pytest.mark.parametrize("online_s", [None, 5.0, 59.0])
def test_no_failure_however_stubborn_is_retried_without_a_bound(
    kind: SignalKind, code: int | None, online_s: float | None
) -> None:
    """A day of the same failure: starts and logins an hour stay below the bound, and they never stop for good."""
    world = World()
    world.feed(i.Start())
    logins: list[float] = []
    end = world.time + 24 * HOUR_S
    while world.time < end:
        if world.must_end:
            world.finish_end()
        elif world.asked:
            world.grant()
            world.spawn()
            world.greet()
        elif world.alive():
            logins.append(world.time)
            if online_s is not None:
                world.login()
                world.deliver()
                world.advance(online_s)
            world.tell(kind, code)
            world.advance(0.1)
        elif (wake := world.machine.wake_at) is not None:
            world.advance(wake - world.time)
        else:
            break
    assert logins
    bound = DIALS_AN_HOUR if kind is K.DIAL_FAILED and online_s is None else UNCHARGED_STARTS_AN_HOUR
    for start in logins:
        assert sum(start <= at < start + HOUR_S for at in logins) <= bound
    if world.state is SessionState.FAILED:
        assert len(logins) == RECONNECT.crash_limit


@pytest.mark.parametrize("online_s", [0.5, 5.0, 59.0])
def test_a_fleet_that_is_let_in_and_closed_for_ever_is_retried_once_a_minute_at_most(online_s: float) -> None:
    """Each loss is a trouble of all, and is excused; the engine redials at once."""
    world = World()
    world.feed(i.Start())
    logins: list[float] = []
    end = world.time + 12 * HOUR_S
    while world.time < end and len(logins) < 10_000:
        if world.must_end:
            world.finish_end()
        elif world.asked:
            world.grant()
            world.spawn()
            world.greet()
        elif world.alive():
            logins.append(world.time)
            world.login()
            world.deliver()
            world.advance(online_s)
            world.tell(K.DISCONNECTED)
            world.feed(i.Excused(window_s=60.0))
        elif (wake := world.machine.wake_at) is not None:
            world.advance(wake - world.time)
    for start in logins:
        assert sum(start <= at < start + HOUR_S for at in logins) <= HOUR_S / 60 + RECONNECT.attempts_per_hour + 1


def test_what_is_stored_is_all_that_counts() -> None:
    """A daemon that restarts every minute retries no more often than one that lives."""
    counts = []
    for restarts in (False, True):
        world = World()
        world.feed(i.Start())
        end = world.time + 6 * HOUR_S
        while world.time < end:
            if restarts:
                world.restart_daemon()
            world.advance(60)
            if world.asked:
                world.grant()
                world.spawn()
                world.greet()
                world.tell(K.CONNECT_FAILURE, 503)
                world.finish_end()
        counts.append(len(world.spawns))
    assert 5 <= counts[1] <= counts[0]
