"""Every number by which sessions are kept connected, with the reason for its value.

The settings file embeds these structs, so all of them can be changed by the operator, most while everything runs.
Imports nothing of ours: the settings must be readable without the rest of the daemon.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=1 << 20)]
Fraction = Annotated[float, Meta(gt=0, le=1)]

MIB = 1 << 20


class KeepaliveSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When the health of a session is doubted, and how long each part of it may keep us waiting."""

    check_interval_s: Annotated[Seconds, Meta(description="How often the health of a session is judged.")] = 10
    """A half-open connection must be back in 45 s; judging costs microseconds, so this leaves time for the rest."""
    evidence_max_age_s: Annotated[Seconds, Meta(description="Evidence of life older than this causes a probe.")] = 35
    """The engine pings every 20–30 s: 30 s and one answer late."""
    ping_answer_s: Annotated[Seconds, Meta(description="An answer to the engine's ping is overdue after this.")] = 5
    """WhatsApp answers within a second, even over a bad mobile proxy within three."""
    probe_timeout_s: Annotated[Seconds, Meta(description="A probe without answer for this long has failed.")] = 5
    """The same answer, asked for actively; more would break the 45 s."""
    heartbeat_lost_s: Annotated[
        Seconds, Meta(description="A process that reports nothing for this long is stopped or blocked: restart it.")
    ] = 20
    """Three reports of 5 s each and one on the way; sixty processes that start together may delay each other."""
    loop_lag_max_s: Annotated[
        Seconds, Meta(description="A process whose event loop was this late, three reports in a row, is restarted.")
    ] = 4
    """Nearly the whole time between two reports: the process does nothing else any more."""
    hello_timeout_s: Annotated[Seconds, Meta(description="A new process must have introduced itself within this.")] = 20
    """Measured: 0.2–0.5 s; sixty at once on two cores: below ten."""
    login_timeout_s: Annotated[
        Seconds, Meta(description="Not online for this long with a living process: the process is replaced.")
    ] = 30
    """The engine redials after 0, 2, 4, 6, 8 s: the sixth try would come at 30 s; a hung dial never ends."""
    login_after_pairing_s: Annotated[
        Seconds, Meta(description="As above after WhatsApp asked for the restart that follows linking.")
    ] = 15
    """That restart is an ordinary redial, measured below a second."""
    stop_grace_s: Annotated[Seconds, Meta(description="How long a process may take to end in order.")] = 8
    """It closes its connection and two databases; systemd's own limit for the whole appliance is far above."""
    stack_dump_s: Annotated[
        Seconds, Meta(description="How long a process that hangs may take to write its stacks before it is killed.")
    ] = 0.5
    """faulthandler needs milliseconds; a process that is stopped never answers."""
    logout_timeout_s: Annotated[Seconds, Meta(description="How long unlinking at WhatsApp may take.")] = 10
    """One question and its answer; without an answer the session is removed all the same, and that is said."""
    memory_soft_bytes: Annotated[Bytes, Meta(description="A process above this is reported.")] = 80 * MIB
    """Twice what remains after three pictures of 16 MiB; linking and large media pass it only for seconds."""
    memory_hard_bytes: Annotated[Bytes, Meta(description="A process above this is restarted.")] = 250 * MIB
    """Below the limit that the kernel enforces, so that the process ends in order and the reason is known."""
    memory_patience: Annotated[
        Count, Meta(description="So many reports in a row must exceed a memory limit before something is done.")
    ] = 6
    """Half a minute: a download's peak is over by then, a leak is not."""


class ReconnectSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How often a session may try again."""

    backoff_base_s: Annotated[Seconds, Meta(description="First step of the full-jitter backoff.")] = 1
    backoff_cap_s: Annotated[Seconds, Meta(description="Longest step of the backoff.")] = 300
    """Five minutes: what a user still takes for "by itself" once WhatsApp lets it in again."""
    dial_cap_s: Annotated[
        Seconds, Meta(description="Longest step of the backoff while WhatsApp cannot be reached at all.")
    ] = 60
    """WhatsApp sees nothing of a dial that does not get through, so nobody is annoyed; and once the way is free, the
    session is back within a minute. When many have that trouble the fleet's canary tries for all of them."""
    reset_after_s: Annotated[Seconds, Meta(description="Online for this long: backoff and cooling start anew.")] = 600
    stable_after_s: Annotated[
        Seconds, Meta(description="A login that WhatsApp closes sooner counts as failed; so does a crash.")
    ] = 60
    """A connection that holds for a minute was accepted; what ends it later is a fault of its own."""
    attempts_per_hour: Annotated[Count, Meta(description="Failed logins in an hour before a session cools down.")] = 5
    unknown_tries: Annotated[
        Count, Meta(description="Tries in a row after a refusal whose meaning is not known, before it cools down.")
    ] = 3
    """WhatsApp means something by such a code; repeating the same login rarely changes its mind."""
    cooling_base_s: Annotated[Seconds, Meta(description="First cooling pause; it doubles each time.")] = 900
    cooling_cap_s: Annotated[Seconds, Meta(description="Longest cooling pause.")] = 14_400
    crash_window_s: Annotated[Seconds, Meta(description="Window in which crashes are counted.")] = 600
    crash_limit: Annotated[Count, Meta(description="Counted crashes in the window after which a session failed.")] = 5
    ban_margin_s: Annotated[
        Seconds, Meta(description="Waited beyond the end of a temporary ban, and a random part.")
    ] = 300
    """Clocks differ, and an attempt one second too early may prolong the ban."""
    ban_default_s: Annotated[Seconds, Meta(description="Assumed length of a temporary ban that names none.")] = 86_400
    """The usual first ban is a day; asking earlier is what prolongs it."""
    repair_hold_s: Annotated[
        Seconds, Meta(description="After WhatsApp refused the account itself, linking is refused for this long.")
    ] = 21_600
    """Linking a banned number again and again is what turns a ban into a permanent one."""


class FleetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What concerns all sessions together."""

    starts_per_s: Annotated[float, Meta(gt=0, description="Sessions started each second, at most.")] = 4
    """Sixty in 15 s; a start costs two cores about 0.2 s each."""
    outage_share: Annotated[
        Fraction, Meta(description="Share of the sessions that must be lost to call it an outage.")
    ] = 0.3
    outage_minimum: Annotated[
        Count, Meta(description="Sessions that must be lost, at least, to call it an outage.")
    ] = 3
    """With fewer it is as likely that each has a trouble of its own."""
    outage_window_s: Annotated[Seconds, Meta(description="Losses within this time are taken for one event.")] = 60
    """Half-open connections of one fault are noticed over half a minute."""
    canary_base_s: Annotated[Seconds, Meta(description="First pause between two canaries during an outage.")] = 2
    canary_cap_s: Annotated[Seconds, Meta(description="Longest pause between two canaries during an outage.")] = 60
    """One login a minute for a whole fleet annoys nobody, and the end of an outage is noticed within that minute."""
    outdated_canary_base_s: Annotated[
        Seconds, Meta(description="First pause before one session tries again after WhatsApp refused the engine.")
    ] = 3600
    outdated_canary_cap_s: Annotated[Seconds, Meta(description="Longest pause of that kind.")] = 21_600
    """WhatsApp has taken such refusals back within hours; otherwise only a newer engine helps."""
