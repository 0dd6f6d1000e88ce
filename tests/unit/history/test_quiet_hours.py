"""Quiet hours across midnight and across nights of 23 and 25 hours."""

from __future__ import annotations

import datetime
import zoneinfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.history.settings import AlertSettings, is_quiet

PARIS = "Europe/Paris"


def at(text: str, zone: str = PARIS, fold: int = 0) -> float:
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=fold)
    return moment.timestamp()


def night(zone: str = PARIS) -> AlertSettings:
    return AlertSettings(quiet_from="22:00", quiet_to="07:00", timezone=zone)


@pytest.mark.parametrize(
    ("clock", "quiet"),
    [("21:59", False), ("22:00", True), ("23:59", True), ("00:00", True), ("06:59", True), ("07:00", False)],
)
def test_across_midnight(clock: str, quiet: bool) -> None:
    assert is_quiet(night(), at(f"2026-06-10 {clock}")) == quiet


def test_within_a_day() -> None:
    noon = AlertSettings(quiet_from="12:00", quiet_to="14:00", timezone=PARIS)
    assert [is_quiet(noon, at(f"2026-06-10 {hour}:00")) for hour in (11, 12, 13, 14)] == [False, True, True, False]


def test_none() -> None:
    assert not is_quiet(AlertSettings(), at("2026-06-10 03:00"))
    assert not is_quiet(AlertSettings(quiet_from="07:00", quiet_to="07:00"), at("2026-06-10 07:00"))


@pytest.mark.parametrize(("evening", "hours"), [("2026-03-28", 8), ("2026-06-10", 9), ("2026-10-24", 10)])
def test_the_nights_in_which_the_clock_is_changed(evening: str, hours: int) -> None:
    """The quiet time ends at seven by the clock on the wall, however long the night was."""
    start = at(f"{evening} 22:00")
    quiet = [minute for minute in range(-60, 12 * 60) if is_quiet(night(), start + minute * 60)]
    assert quiet == list(range(hours * 60))


def test_a_boundary_inside_the_hour_that_does_not_exist_or_comes_twice() -> None:
    skipped = AlertSettings(quiet_from="02:30", quiet_to="04:00", timezone=PARIS)
    start = at("2026-03-29 00:00")
    assert sum(is_quiet(skipped, start + minute * 60) for minute in range(600)) == 60
    assert is_quiet(skipped, at("2026-10-25 02:45")) == is_quiet(skipped, at("2026-10-25 02:45", fold=1))


times = st.times().map(lambda time: time.strftime("%H:%M"))


@given(times, times, st.integers(min_value=0, max_value=2 * 10**9), st.sampled_from(["UTC", PARIS, "Africa/Dakar"]))
def test_against_a_walk_along_the_clock(start: str, end: str, now: int, zone: str) -> None:
    """Quiet exactly if, walking on from the start by the minute hand, one meets now before the end."""
    settings = AlertSettings(quiet_from=start, quiet_to=end, timezone=zone)
    clock = datetime.datetime.fromtimestamp(now, zoneinfo.ZoneInfo(zone))
    begin, finish = (int(text[:2]) * 60 + int(text[3:]) for text in (start, end))
    since_start = (clock.hour * 60 + clock.minute - begin) % 1440
    assert is_quiet(settings, now) == (since_start < (finish - begin) % 1440)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"quiet_from": "22:00"}, "quiet_to"),
        ({"quiet_from": "24:00", "quiet_to": "07:00"}, "regex"),
        ({"timezone": "Paris"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"webhook_url": "https://x.example/"}, "webhook_secret"),
        ({"webhook_url": "ftp://x.example/"}, "regex"),
        ({"urls": ["not a url"]}, "urls"),
        ({"phone_alert_days": 9.0}, "phone_alert_days"),
    ],
)
def test_mistakes_are_told(values: dict[str, object], field: str) -> None:
    with pytest.raises((msgspec.ValidationError, ValueError), match=field):
        msgspec.convert(values, AlertSettings)
