"""Every row of the table in design §4, one test each, and the rules that hold a session together."""

from __future__ import annotations

import pytest

from appliance.model import ADVICE, SessionState
from appliance.protocol import EngineState, Signal, SignalKind, WorkerExit
from appliance.sessions import inputs as i
from appliance.sessions.memory import Phase
from appliance.sessions.policy import Action
from appliance.sessions.reasons import DisconnectReason
from tests.unit.sessions.world import KEEPALIVE, RECONNECT, Worker, World, idle

K = SignalKind
R = DisconnectReason
S = SessionState


# ---- the table ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code"), [(K.DISCONNECTED, None), (K.STREAM_ERROR, 503), (K.STREAM_ERROR, 500), (K.STREAM_ERROR, 428)]
)
def test_transient_the_engine_redials(kind: K, code: int | None) -> None:
    world = World().online(100)
    world.tell(kind, code)
    assert world.state is S.RECONNECTING
    assert world.must_end == []
    [row] = world.rows
    assert (row.action, row.code, row.charged) == (Action.REDIAL, code, False)
    assert row.uptime_s == 100
    world.advance(2)
    world.login()
    world.deliver()
    assert world.state is S.ONLINE
    assert world.closed[-1] == world.time
    assert len(world.rows) == 1


def test_transient_not_online_after_30_s_ends_the_process_and_backs_off() -> None:
    world = World().online(100)
    world.tell(K.DISCONNECTED)
    world.advance(29)
    assert world.must_end == []
    world.advance(1)
    [end] = world.must_end
    assert not end.gently
    assert world.machine.phase is Phase.ENDING
    world.finish_end()
    assert world.state is S.RECONNECTING
    assert not world.asked
    world.advance(RECONNECT.backoff_base_s)
    assert world.asked
    assert len(world.rows) == 1
    assert world.copy_history().charged == ()


def test_a_ping_without_answer_is_probed_once_then_the_process_is_replaced() -> None:
    world = World().online(100)
    pid = world.worker.pid
    world.feed(i.Doubt(pid=pid, text="a ping was not answered"))
    assert world.state is S.DEGRADED
    world.feed(i.Doubt(pid=pid, text="still not"))
    assert world.probes == [pid]
    world.feed(i.Probed(pid=pid, error="no answer"))
    [row] = world.rows
    assert row.reason is R.HALF_OPEN
    [end] = world.must_end
    assert (end.gently, end.dump) == (False, True)
    world.finish_end()
    assert world.asked  # at once: the connection had held


def test_a_probe_that_a_former_daemon_had_begun_is_begun_again() -> None:
    world = World().online(100)
    pid = world.worker.pid
    world.feed(i.Doubt(pid=pid, text="silence"))
    world.restart_daemon()
    world.greet()
    assert world.state is S.DEGRADED
    world.greet()  # the link was lost once more: one probe at a time
    assert world.probes == [pid], "the other died with the daemon that had asked"
    world.feed(i.Probed(pid=pid, error="no answer"))
    [row] = world.rows
    assert row.reason is R.HALF_OPEN


def test_a_probe_that_is_answered_is_evidence() -> None:
    world = World().online(100)
    world.feed(i.Doubt(pid=world.worker.pid, text="silence"))
    world.feed(i.Probed(pid=world.worker.pid))
    assert world.state is S.ONLINE
    assert world.rows == []


def test_a_late_answer_of_an_older_process_proves_nothing() -> None:
    world = World().online(100)
    old = world.worker.pid
    world.feed(i.Doubt(pid=old, text="silence"))
    world.die()
    world.grant()
    world.spawn()
    world.feed(i.Probed(pid=old))
    assert world.state is S.RECONNECTING


@pytest.mark.parametrize("reason", [R.PROCESS_SILENT, R.LOOP_BLOCKED, R.MEMORY])
def test_a_condemned_process_is_replaced_and_not_charged(reason: R) -> None:
    world = World().online(10)
    world.feed(i.Condemned(pid=world.worker.pid, reason=reason, text="because"))
    [row] = world.rows
    assert (row.reason, row.charged) == (reason, False)
    world.finish_end()
    world.advance(1)
    assert world.asked


def test_515_after_linking_is_expected_once_and_has_15_s() -> None:
    world = World(linked=False)
    worker = _promoted(world)
    world.tell(K.STREAM_ERROR, 515)
    assert world.copy_history().charged == ()
    assert world.state is S.RECONNECTING
    world.advance(KEEPALIVE.login_after_pairing_s - 1)
    assert world.must_end == []
    world.advance(1)
    assert [end.pid for end in world.must_end] == [worker]


def test_515_again_and_again_is_charged() -> None:
    world = World(linked=False)
    _promoted(world)
    world.tell(K.STREAM_ERROR, 515)
    for _ in range(5):
        world.tell(K.STREAM_ERROR, 515)
    assert world.state is S.COOLING


def test_replaced_stops_for_good_until_the_operator_acts() -> None:
    world = World().online(100)
    world.tell(K.STREAM_REPLACED, 440)
    assert world.state is S.REPLACED
    world.finish_end()
    assert idle(world)
    world.advance(1e6)
    world.feed(i.Nudge())
    world.restart_daemon()
    assert idle(world)
    world.feed(i.Start())
    assert world.asked


@pytest.mark.parametrize(
    ("kind", "code", "state"),
    [
        (K.LOGGED_OUT, 401, S.NEEDS_PAIRING),
        (K.LOGGED_OUT, 403, S.NEEDS_PAIRING),
        (K.CONNECT_FAILURE, 401, S.NEEDS_PAIRING),
        (K.STREAM_ERROR, 401, S.NEEDS_PAIRING),
        (K.LOGGED_OUT, 406, S.BANNED),
        (K.CLIENT_OUTDATED, 405, S.OUTDATED),
    ],
)
@pytest.mark.parametrize("logged_in", [True, False])
def test_what_ends_for_good(kind: K, code: int, state: S, logged_in: bool) -> None:
    world = World()
    if logged_in:
        world.online(100)
    else:
        world.feed(i.Start())
        world.grant()
        world.spawn()
        world.greet()
    world.tell(kind, code)
    assert world.state is state
    assert ADVICE[state].remedy
    assert f"Code {code}" in world.machine.memory.detail
    assert len(world.rows) == (1 if logged_in else 0)
    world.finish_end()
    world.advance(1e5)
    assert idle(world)
    assert world.state is state


def test_after_a_logout_only_linking_helps() -> None:
    world = World().online(100)
    world.tell(K.LOGGED_OUT, 401)
    world.finish_end()
    world.feed(i.Start())
    assert not world.asked
    assert "linked first" in (world.machine.refusal(world.time) or "")
    _promoted(world)
    assert world.machine.refusal(world.time) is None


def test_406_also_holds_linking_back_for_hours() -> None:
    world = World().online(100)
    world.tell(K.LOGGED_OUT, 406)
    assert world.machine.memory.not_before == world.time + RECONNECT.repair_hold_s


def test_a_temporary_ban_is_slept_out_even_over_a_restart_of_the_daemon() -> None:
    world = World()
    world.feed(i.Start())
    world.grant()
    world.spawn()
    world.greet()
    world.tell(K.TEMPORARY_BAN, 402, expires_s=3600.0)
    assert world.state is S.BANNED
    world.finish_end()
    world.advance(1800)
    world.feed(i.Nudge())
    world.feed(i.Start())
    assert not world.asked
    world.restart_daemon()
    world.advance(1800 + RECONNECT.ban_margin_s - 1)
    assert not world.asked
    world.advance(RECONNECT.ban_margin_s)
    assert world.asked
    world.again()


def test_a_nudge_ends_cooling_and_starts_an_outdated_session() -> None:
    world = World()
    world.feed(i.Start())
    world.grant()
    world.spawn()
    world.greet()
    for _ in range(5):
        world.tell(K.DISCONNECTED)
    assert world.state is S.COOLING
    world.finish_end()
    world.feed(i.Nudge())
    assert world.asked
    world.again()
    world.tell(K.CLIENT_OUTDATED, 405)
    world.finish_end()
    world.feed(i.Nudge())
    assert world.asked


@pytest.mark.parametrize("code", [400, 409, 415, 418, 501])
def test_unknown_refusals_get_few_tries_and_keep_the_raw_node(code: int) -> None:
    world = World()
    world.feed(i.Start())
    for number in range(RECONNECT.unknown_tries):
        world.advance(300)
        world.grant()
        world.spawn()
        world.greet()
        world.tell(K.CONNECT_FAILURE, code, raw="<failure reason=.../>")
        assert "<failure" in world.machine.memory.detail
        world.finish_end()
        assert world.state is (S.COOLING if number == RECONNECT.unknown_tries - 1 else S.RECONNECTING)
    assert world.rows == []


def test_crashes_back_off_and_five_in_ten_minutes_fail() -> None:
    world = World().online(5)
    for number in range(5):
        world.die(status=1, signal=None)
        assert world.rows[-1].reason is R.CRASH
        assert world.rows[-1].charged
        if number == 4:
            break
        assert world.state is S.RECONNECTING
        world.advance(RECONNECT.backoff_base_s * 2.0**number)
        world.again()
        world.advance(5)
    assert world.state is S.FAILED
    assert idle(world)
    world.feed(i.Start())
    assert world.asked


def test_a_dial_that_never_got_through_is_free_and_its_exit_is_not_a_crash() -> None:
    world = World()
    world.feed(i.Start())
    for _ in range(20):
        world.grant()
        world.spawn()
        world.greet()
        world.tell(K.DIAL_FAILED)
        world.die(status=WorkerExit.DIAL_FAILED, signal=None)
        assert world.state is S.RECONNECTING
        world.advance(RECONNECT.dial_cap_s)
        assert world.asked
    assert world.copy_history().charged == ()


def test_a_refusal_and_the_exit_after_it_are_charged_once() -> None:
    world = World()
    world.feed(i.Start())
    world.grant()
    world.spawn()
    world.greet()
    world.tell(K.DISCONNECTED)
    world.die(status=WorkerExit.ENGINE_ENDED, signal=None)
    assert len(world.copy_history().charged) == 1


def test_nothing_is_charged_during_an_outage() -> None:
    world = World()
    world.outage = True
    world.feed(i.Start())
    world.grant()
    world.spawn()
    world.greet()
    for _ in range(10):
        world.tell(K.DISCONNECTED)
    assert world.copy_history().charged == ()
    assert world.state is S.RECONNECTING


def closed_early(world: World) -> None:
    world.advance(5)
    world.tell(K.DISCONNECTED)
    if world.state is S.RECONNECTING:
        world.advance(1)
        world.login()
        world.deliver()


def test_what_many_had_at_once_is_taken_back_once_in_a_window() -> None:
    world = World().online()
    closed_early(world)
    closed_early(world)
    assert len(world.copy_history().charged) == 2
    world.feed(i.Excused(window_s=60))
    world.feed(i.Excused(window_s=60))
    assert len(world.copy_history().charged) == 1
    world.advance(40)
    closed_early(world)
    world.feed(i.Excused(window_s=60))
    assert len(world.copy_history().charged) == 2
    world.advance(20)
    closed_early(world)
    world.feed(i.Excused(window_s=60))
    assert len(world.copy_history().charged) == 2


def test_cooling_that_was_not_deserved_ends_at_once() -> None:
    for ended in (False, True):
        world = World().online()
        for _ in range(5):
            closed_early(world)
        assert world.state is S.COOLING
        if ended:
            world.finish_end()
            assert world.machine.wake_at == pytest.approx(world.time + RECONNECT.cooling_base_s)
        world.feed(i.Excused(window_s=60))
        assert world.state is S.RECONNECTING
        if not ended:
            world.finish_end()
        world.advance(RECONNECT.backoff_base_s)
        assert world.asked
        assert world.copy_history().coolings == 0
        world.again()


def test_the_death_of_the_fork_server_is_nobodys_fault() -> None:
    world = World().online(5)
    world.worker.alive = False
    pid = next(iter(world.workers))
    world.feed(i.Exited(pid=pid, lost=True))
    [row] = world.rows
    assert (row.reason, row.charged) == (R.FORK_SERVER_LOST, False)
    world.advance(1)
    assert world.asked


# ---- one loss, one row ----------------------------------------------------------------------------------------------


def test_a_stream_error_and_the_close_after_it_are_one_loss() -> None:
    world = World().online(10)
    world.tell(K.STREAM_ERROR, 503)
    world.emit_close_after_error()
    assert len(world.rows) == 1
    assert len(world.copy_history().charged) == 1


def test_a_close_and_the_reason_after_it_are_one_loss_with_the_better_reason() -> None:
    world = World().online(100)
    connected_at = world.worker.connected_at
    world.tell(K.DISCONNECTED)
    world.worker.connected_at = connected_at
    world.losses.pop()
    world.tell(K.LOGGED_OUT, 401)
    assert len(world.rows) == 1
    assert [refined.reason for refined in world.refined] == [R.DEVICE_REMOVED]
    assert world.state is S.NEEDS_PAIRING


def test_a_connection_that_the_engine_replaced_silently_has_a_row() -> None:
    world = World().online(300)
    world.login()
    world.deliver()
    [row] = world.rows
    assert row.reason is R.SILENT_RECONNECT
    assert world.closed[-1] == world.time
    assert world.state is S.ONLINE


def test_what_happened_while_the_daemon_was_away_is_in_the_ledger() -> None:
    world = World().online(100)
    for _ in range(3):
        world.advance(70)
        world.signal(K.DISCONNECTED)
        world.advance(1)
        world.login()
    world.restart_daemon()
    world.greet()
    world.deliver()
    assert world.state is S.ONLINE
    assert len(world.rows) == len(world.losses) == 3
    assert [round(row.uptime_s) for row in world.rows] == [170, 70, 70]


def test_what_a_dead_process_left_in_its_outbox_counts_but_sets_no_state() -> None:
    world = World().online(100)
    world.signal(K.DISCONNECTED)
    world.login()
    world.die()
    world.grant()
    world.spawn()
    world.greet()
    world.deliver()
    assert world.state is S.RECONNECTING
    world.login()
    world.deliver()
    assert world.state is S.ONLINE
    assert len(world.rows) == len(world.losses) == 2


def test_what_a_dead_process_learnt_and_is_still_true_ends_its_successor() -> None:
    world = World().online(100)
    world.signal(K.STREAM_REPLACED)
    world.die()
    world.grant()
    world.spawn()
    world.greet()
    world.deliver()
    assert world.state is S.REPLACED
    world.finish_end()
    assert idle(world)


def test_a_process_that_died_with_the_daemon_has_a_row_and_later_its_reason() -> None:
    world = World().online(100)
    pid = world.worker.pid
    world.die(told=False)
    world.restart_daemon()
    assert [row.reason for row in world.rows] == [R.FOUND_ENDED]
    world.feed(i.Exited(pid=pid, signal=9))
    assert [refined.reason for refined in world.refined] == [R.CRASH]


def test_a_hello_may_be_all_that_tells_of_a_login() -> None:
    world = World().online(100)
    world.machine.memory.live_at = None
    world.restart_daemon()
    world.greet()
    assert world.state is S.ONLINE
    world.tell(K.DISCONNECTED)
    assert len(world.rows) == 1


# ---- commands -------------------------------------------------------------------------------------------------------


def test_a_login_that_a_hello_told_of_first_is_not_lost_twice() -> None:
    """The process dies with the fork server before its events were read: they come with the next process."""
    world = World()
    world.feed(i.Start())
    world.grant()
    world.spawn()
    world.login()
    world.greet()
    assert world.state is S.ONLINE
    pid = world.worker.pid
    world.die(told=False)
    world.feed(i.Exited(pid=pid, lost=True))
    world.advance(2)
    world.restart_daemon()
    world.advance(2)
    world.again()
    world.die()
    assert len(world.rows) == len(world.losses) == 2
    assert world.machine.memory.past_at is None


def test_a_new_login_within_a_moment_of_the_one_that_a_hello_told_of_counts() -> None:
    world = World()
    world.feed(i.Start())
    world.grant()
    world.spawn()
    world.login()
    world.outbox.clear()  # taken by whoever linked the session
    world.greet()
    world.advance(0.2)
    world.tell(K.DISCONNECTED)
    world.advance(0.2)
    world.login()
    world.deliver()
    assert world.state is S.ONLINE
    assert len(world.rows) == 1


@pytest.mark.parametrize("clock_step_s", [0.0, -8100.0, 8100.0])
@pytest.mark.parametrize("forgotten", [False, True])
def test_the_close_after_a_stream_error_is_not_the_end_of_the_next_connection(
    clock_step_s: float, forgotten: bool
) -> None:
    """The daemon dies between the two, and hears of the next login by a hello before it hears of the close."""
    world = World().online(100)
    old = world.worker.connected_at
    world.tell(K.STREAM_ERROR, 500)
    world.emit(Signal(kind=K.DISCONNECTED, code=500, connected_at=None if forgotten else old))
    world.time += 0.5 + clock_step_s
    world.login()
    world.restart_daemon()
    world.greet()
    assert world.state is S.ONLINE
    world.deliver()
    assert world.state is S.ONLINE
    assert len(world.rows) == len(world.losses) == 1
    world.advance(5)
    world.die()
    assert len(world.rows) == len(world.losses) == 2


@pytest.mark.parametrize("clock_step_s", [0.0, -8100.0, 8100.0])
def test_the_first_loss_after_linking_counts(clock_step_s: float) -> None:
    """Whoever links a session stamps its first login a moment later than the engine does."""
    world = World(linked=False)
    worker = Worker(7, 1)
    world.workers[worker.pid] = worker
    worker.connected_at = world.time
    world.feed(i.Promoted(pid=7, engine_state=EngineState.CONNECTED, connected_at=world.time + 0.01))
    world.advance(30)
    world.time += clock_step_s
    world.tell(K.STREAM_ERROR, 500)
    assert len(world.rows) == len(world.losses) == 1


def test_the_login_of_a_hello_that_comes_while_its_process_ends_brings_no_second_row() -> None:
    world = World()
    world.feed(i.Start())
    world.grant()
    world.spawn()
    world.login()
    world.greet()
    world.feed(i.Condemned(pid=world.worker.pid, reason=R.PROCESS_SILENT, text="proof"))
    world.deliver()
    assert world.state is S.RECONNECTING
    world.finish_end()
    assert len(world.rows) == len(world.losses) == 1


def test_stop_waits_for_the_proof_of_death() -> None:
    world = World().online(100)
    world.feed(i.Stop())
    assert world.state is S.ONLINE
    [end] = world.must_end
    assert end.gently
    world.finish_end()
    assert world.state is S.STOPPED
    assert idle(world)
    assert [row.reason for row in world.rows] == [R.STOPPED]


def test_start_while_it_ends_starts_again_after_the_end() -> None:
    world = World().online(100)
    world.feed(i.Stop())
    world.feed(i.Start())
    assert not world.asked
    world.finish_end()
    assert world.asked


def test_stop_before_the_process_exists() -> None:
    world = World()
    world.feed(i.Start())
    world.feed(i.Stop())
    assert idle(world)
    world.feed(i.Start())
    world.grant()
    world.feed(i.Stop())
    worker = world.spawn()
    assert [end.pid for end in world.must_end] == [worker.pid]
    world.finish_end()
    assert world.state is S.STOPPED
    assert idle(world)


def test_stop_and_start_while_it_is_being_forked_change_nothing() -> None:
    world = World()
    world.feed(i.Start())
    world.grant()
    world.feed(i.Stop())
    world.feed(i.Start())
    world.spawn()
    assert world.must_end == []
    assert world.machine.phase is Phase.RUNNING


def test_restart_makes_a_new_process() -> None:
    world = World().online(100)
    world.feed(i.Restart())
    world.finish_end()
    world.again()
    assert [row.reason for row in world.rows] == [R.RESTARTED]


def test_a_move_to_another_release_is_a_planned_reconnection_that_counts_against_nobody() -> None:
    world = World().online(100)
    history = world.copy_history()
    world.feed(i.Restart(reason=R.MOVED))
    world.finish_end()
    world.again()
    assert [(row.reason, row.charged) for row in world.rows] == [(R.MOVED, False)]
    assert world.copy_history() == history


def test_a_stopped_session_is_not_adopted_by_a_new_daemon() -> None:
    world = World().online(100)
    world.feed(i.Stop())
    world.restart_daemon()
    assert [end.pid for end in world.must_end] == [world.worker.pid]
    world.finish_end()
    assert world.state is S.STOPPED


def test_a_proxy_that_cannot_be_used_is_its_own_reason_and_charges_nobody() -> None:
    world = World()
    world.feed(i.Start())
    for _ in range(12):
        world.grant()
        world.feed(i.SpawnFailed(error="the proxy socks5://···@h:1 cannot be reached", proxy=True))
        assert world.state is S.RECONNECTING
        assert "proxy" in world.memory.detail
        world.advance(RECONNECT.dial_cap_s)
        assert world.asked
    assert world.copy_history().charged == ()


def test_a_failed_fork_counts_and_a_missing_fork_server_does_not() -> None:
    world = World()
    world.feed(i.Start())
    world.grant()
    world.feed(i.SpawnFailed(error="no memory"))
    assert len(world.copy_history().charged) == 1
    world.advance(10)
    world.grant()
    world.feed(i.SpawnFailed(error="away", lost=True))
    assert len(world.copy_history().charged) == 1
    assert world.state is S.RECONNECTING


def test_a_process_without_a_word_is_replaced() -> None:
    world = World()
    world.feed(i.Start())
    world.grant()
    world.spawn()
    world.advance(KEEPALIVE.hello_timeout_s)
    [end] = world.must_end
    assert not end.gently


def test_a_new_link_takes_the_place_of_the_old_one_and_clears_its_record() -> None:
    world = World().online(10)
    world.tell(K.DISCONNECTED)
    world.login()
    world.deliver()
    assert world.copy_history().charged
    old = world.worker
    old.alive = False
    worker = _promoted(world)
    assert world.machine.pid == worker != old.pid
    assert [row.reason for row in world.rows] == [R.SOCKET_CLOSED, R.SUPERSEDED]
    assert world.copy_history().charged == ()
    world.feed(i.Exited(pid=old.pid, status=0))
    assert world.machine.phase is Phase.RUNNING


def test_a_promoted_process_that_is_logged_in_already_is_online() -> None:
    world = World(linked=False)
    world.feed(i.Promoted(pid=7, engine_state=EngineState.CONNECTED, connected_at=world.time))
    assert world.state is S.ONLINE
    assert world.machine.memory.linked


def test_the_first_loss_after_a_link_counts_although_it_names_the_login_a_moment_earlier() -> None:
    """The attempt knows of the login by its event, which was recorded after it."""
    world = World(linked=False)
    world.workers[7] = Worker(7, 0)
    world.workers[7].connected_at = world.time - 0.001
    world.feed(i.Promoted(pid=7, engine_state=EngineState.CONNECTED, connected_at=world.time))
    world.advance(5)
    world.tell(K.DISCONNECTED)
    assert [row.reason for row in world.rows] == [R.SOCKET_CLOSED]
    assert world.state is S.RECONNECTING


def _promoted(world: World) -> int:
    """A linking attempt's process becomes the session's, before its first login."""
    pid = 7
    world.workers[pid] = Worker(pid, 0)
    world.feed(i.Promoted(pid=pid, engine_state=EngineState.CONNECTING))
    return pid


def half_open(world: World) -> None:
    world.feed(i.Doubt(pid=world.worker.pid, text="silence"))
    world.feed(i.Probed(pid=world.probes.pop(0), error="no answer"))


def test_a_new_daemon_goes_on_ending_what_the_last_one_had_given_up() -> None:
    """The engine of a half-open connection still believes in it: its hello must not make it online again."""
    world = World().online(100)
    half_open(world)
    world.restart_daemon()
    world.greet()
    assert world.state is S.RECONNECTING
    [end] = world.must_end
    assert (end.pid, end.gently) == (world.worker.pid, False)
    world.finish_end()
    world.again()
    assert [row.reason for row in world.rows] == [R.HALF_OPEN]
    assert len(world.losses) == 1


def test_a_new_daemon_that_finds_it_ended_does_what_was_decided() -> None:
    world = World().online(100)
    half_open(world)
    world.die(told=False)
    world.restart_daemon()
    assert world.asked, "at once: the connection had held"
    world.again()
    assert [row.reason for row in world.rows] == [R.HALF_OPEN]


def test_a_pause_that_was_decided_is_kept_over_a_new_daemon() -> None:
    world = World()
    world.feed(i.Start())
    for _ in range(RECONNECT.attempts_per_hour):
        world.grant()
        world.spawn()
        world.greet()
        world.tell(K.DISCONNECTED)
        if world.state is not S.COOLING:
            world.die(status=WorkerExit.ENGINE_ENDED, signal=None)
            world.advance(RECONNECT.backoff_cap_s)
    assert (world.state, world.machine.phase) == (S.COOLING, Phase.ENDING)
    world.die(told=False)
    world.restart_daemon()
    assert world.state is S.COOLING
    world.advance(RECONNECT.cooling_base_s - 1)
    assert not world.asked
    world.advance(2)
    assert world.asked


def test_who_is_wanted_again_before_it_has_stopped_is_not_shown_online_without_a_process() -> None:
    world = World().online(100)
    world.feed(i.Stop())
    world.feed(i.Restart())
    world.finish_end()
    assert (world.state, world.asked) == (S.CONNECTING, True)
