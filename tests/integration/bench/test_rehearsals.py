"""The short rehearsals are part of every change: what the README promises is carried out, not only its parts."""

from __future__ import annotations

import msgspec
import pytest

from appliance.bench import api, crash, first_light, media, media_disturb, pairing, pairing_cycles
from appliance.bench.media_choices import Disturbance, MediaStore
from appliance.bench.proof import ACK_WINDOW_S, in_window

KILLS = 6
"""Enough for each target to be met; `./run-tests long` has fifty."""


@pytest.mark.timeout(120)
async def test_first_light() -> None:
    result = await first_light.run()
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()


@pytest.mark.timeout(180)
async def test_kills_lose_nothing() -> None:
    result = await crash.run(kills=KILLS, seed=3)
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()
    assert sum(result.kills.values()) == KILLS


@pytest.mark.timeout(180)
async def test_linking_while_everything_is_restarted() -> None:
    """Eight at once, daemon killed twice, Redis restarted, sockets dropped; `./run-tests long` has sixty."""
    result = await pairing.run(users=8, disturbed=True, pace=0.15)
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()
    assert result.interrupted


@pytest.mark.timeout(180)
async def test_after_a_failure_the_right_attempt_works() -> None:
    """The seed draws a killed worker and a cut connection."""
    result = await pairing_cycles.run(cycles=2, seed=369)
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()
    assert len(result.failures) == 2


@pytest.mark.timeout(180)
async def test_media_is_stored_once_and_whole_although_the_daemon_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_disturb, "KILLS", 2)
    monkeypatch.setattr(media_disturb, "KILL_PAUSE_S", 1.0)
    result = await media.run(sessions=2, items=10, disturbance=Disturbance.DAEMON_KILLS)
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()
    assert result.disturbed == 2
    assert result.bytes_saved_percent > 30


@pytest.mark.minio
@pytest.mark.timeout(180)
async def test_media_is_stored_once_and_whole_although_s3_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_disturb, "S3_AWAY_S", 5.0)
    result = await media.run(sessions=2, items=10, store=MediaStore.S3, disturbance=Disturbance.S3_STOP)
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()


@pytest.mark.timeout(120)
async def test_many_follow_and_read_at_once_and_nobody_misses_anything() -> None:
    """A hundred subscribers; `./run-tests long` has a thousand. How quick it is depends on who else works here."""
    result = await api.run(subscribers=100, requests_per_s=50, duration_s=6.0, sessions=5, seeded=4)
    assert result.disconnects == result.events_missed == result.events_repeated == result.requests_failed == 0, (
        msgspec.json.format(msgspec.json.encode(result)).decode()
    )
    assert result.subscribers >= 50
    assert result.reconnections >= 50
    assert result.events >= 10
    assert result.events_delivered == (100 + api.spare_for(100)) * result.events
    assert result.daemon_pss_growth_mib < api.GROWTH_MIB / 2


def test_only_the_window_excuses_a_loss() -> None:
    assert in_window(100.0, [100.0 + ACK_WINDOW_S / 2])
    assert not in_window(100.0, [100.0 + ACK_WINDOW_S * 2])
    assert not in_window(None, [100.0])
