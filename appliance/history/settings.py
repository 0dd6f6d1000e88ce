"""How long history is kept, and when and how people are told: every number with its reason.

The settings file embeds these structs; all of them can be changed while the daemon runs.
Imports nothing of ours: the settings must be readable without the rest of the daemon.
"""

from __future__ import annotations

import datetime
import re
import zoneinfo
from typing import Annotated, Final

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Days = Annotated[float, Meta(gt=0)]
Percent = Annotated[float, Meta(gt=0, le=100)]
LocalTime = Annotated[str, Meta(pattern=r"^(?:(?:[01]\d|2[0-3]):[0-5]\d)?$")]
"""HH:MM, or empty."""
WebUrl = Annotated[str, Meta(pattern=r"^(?:https?://\S+)?$")]

SECRET: Final = {"secret": True}
"""Marks a field whose value is never shown: whoever has it can speak in our name, or to the operator."""
MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0
DAY_S: Final = 86_400.0


class HistorySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How long the ledger of disconnections is kept."""

    keep_days: Annotated[Days, Meta(description="Disconnections older than this are deleted.")] = 400
    """A year and a month, so that a year can be compared with the one before it; a row takes about 200 bytes."""
    tick_s: Annotated[Seconds, Meta(description="How often uptime is written down.")] = 60
    """A finer picture than a minute is not kept; each time costs one write to the disk for the whole fleet."""


class AlertSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is alarming, who is told, and how often."""

    urls: Annotated[
        tuple[str, ...],
        Meta(description="Apprise URLs of the operators (mailto://…, ntfy://…).", extra=SECRET),
    ] = ()
    webhook_url: Annotated[WebUrl, Meta(description="URL that gets alerts as signed JSON; or empty.", extra=SECRET)] = (
        ""
    )
    webhook_secret: Annotated[
        str, Meta(description="Key of the webhooks' signatures (HMAC-SHA256), at least 16 characters.", extra=SECRET)
    ] = ""
    heartbeat_url: Annotated[
        WebUrl,
        Meta(description="URL of a dead man's switch that is called while all is alive; empty: none.", extra=SECRET),
    ] = ""
    heartbeat_s: Annotated[Seconds, Meta(description="How often the dead man's switch is called.")] = 60
    """Services of that kind work in minutes; a box that is dead is noticed two minutes later."""
    check_s: Annotated[Seconds, Meta(description="How often the rules are looked at.")] = 10
    group_s: Annotated[
        Annotated[float, Meta(ge=0)], Meta(description="What becomes alarming within this time is told in one message.")
    ] = 30
    """A fault that hits everybody shows in all sessions within half a minute."""
    clear_s: Annotated[
        Annotated[float, Meta(ge=0)], Meta(description="All must be well for this long before a recovery is told.")
    ] = 60
    """Shorter, and something that flaps would tell of each time."""
    repeat_s: Annotated[Seconds, Meta(description="What stays alarming is told again this often.")] = 6 * HOUR_S
    person_repeat_s: Annotated[
        Seconds, Meta(description="What the person of a session must do is told again this often.")
    ] = DAY_S
    quiet_from: Annotated[LocalTime, Meta(description="HH:MM when the quiet hours begin; empty: none.")] = ""
    quiet_to: Annotated[LocalTime, Meta(description="HH:MM when the quiet hours end; only pages pass them.")] = ""
    timezone: Annotated[str, Meta(description="Time zone of the quiet hours; empty: the machine's.")] = ""

    rate_percent: Annotated[Percent, Meta(description="Alert when this share of the sessions was lost …")] = 20
    """Twelve of sixty: no longer single cases."""
    rate_minutes: Annotated[Seconds, Meta(description="… within so many minutes.")] = 5
    rate_minimum: Annotated[Count, Meta(description="… and at least so many sessions.")] = 3
    """On a small fleet a share alone says nothing."""
    unstable_losses: Annotated[Count, Meta(description="Alert when one session was lost so often within an hour.")] = 6
    """A bad hour of a mobile network costs a few; more is the session's own trouble."""
    crash_losses: Annotated[Count, Meta(description="Alert when one session's process crashed so often in 10 min.")] = 3
    """Before the fifth, at which it is no longer restarted."""
    memory_bytes: Annotated[
        int, Meta(ge=1 << 20, description="Alert when a session's process is larger than this for five minutes.")
    ] = 120 << 20
    """Half of what makes it be restarted; linking and large media exceed it for seconds only."""
    pairing_percent: Annotated[Percent, Meta(description="Alert when fewer linking attempts than this succeed …")] = 50
    """People mistype and give up: two of three is usual."""
    pairing_minimum: Annotated[Count, Meta(description="… of at least so many within the window.")] = 5
    pairing_hours: Annotated[Seconds, Meta(description="Window of the rate of success of linking, in hours.")] = 6
    phone_warn_days: Annotated[Days, Meta(description="Tell the person when the phone was not seen for so long.")] = 10
    phone_alert_days: Annotated[Days, Meta(description="Tell the operators too, after so long.")] = 12
    """WhatsApp unlinks all companion devices when the phone was away for 14 days."""
    quota_percent: Annotated[Percent, Meta(description="Storage this full is alarming.")] = 95

    delivery_timeout_s: Annotated[Seconds, Meta(description="One attempt to tell somebody may take this long.")] = 30
    """Mail servers delay strangers for ten seconds and more; apprise itself takes two to start on a slow core."""
    delivery_base_s: Annotated[Seconds, Meta(description="Pause after a failed attempt; it doubles each time.")] = 15
    delivery_cap_s: Annotated[Seconds, Meta(description="Longest pause between two attempts.")] = HOUR_S
    delivery_give_up_s: Annotated[
        Seconds, Meta(description="A message that cannot be told for so long is dropped.")
    ] = DAY_S
    """It says nothing new any more: what still holds has been told again meanwhile."""
    private_contacts: Annotated[
        bool, Meta(description="Whether contacts of persons may lie on this machine or in its private network.")
    ] = False
    """Contacts come in by the API: they must not make the daemon speak to what only it can reach."""

    def __post_init__(self) -> None:
        """Raises ValueError, which names the field and the remedy, for values that contradict each other."""
        if self.webhook_url and len(self.webhook_secret) < MIN_SECRET:
            raise ValueError(f"webhook_secret needs at least {MIN_SECRET} characters; make one: openssl rand -hex 32")
        if bool(self.quiet_from) != bool(self.quiet_to):
            raise ValueError("quiet_from and quiet_to belong together: set both or none")
        if self.phone_alert_days < self.phone_warn_days:
            raise ValueError("phone_alert_days must not be less than phone_warn_days")
        if self.timezone:
            _zone(self.timezone)
        for url in self.urls:
            if not URL_PATTERN.match(url):
                raise ValueError("urls must hold apprise URLs, for example mailto://user:password@example.org")


MIN_SECRET: Final = 16
"""Shorter keys of an HMAC can be guessed."""
URL_PATTERN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


def local_time(settings: AlertSettings, now: float) -> datetime.datetime:
    """`now` (seconds since the epoch) as the people who set the quiet hours read it from their clock."""
    utc = datetime.datetime.fromtimestamp(now, datetime.UTC)
    return utc.astimezone(_zone(settings.timezone) if settings.timezone else None)


def is_quiet(settings: AlertSettings, now: float) -> bool:
    """Whether `now` lies within the quiet hours, by the wall clock: a night of 23 or 25 hours needs no other rule."""
    if settings.quiet_from == settings.quiet_to:
        return False
    clock = local_time(settings, now).strftime("%H:%M")
    if settings.quiet_from < settings.quiet_to:
        return settings.quiet_from <= clock < settings.quiet_to
    return clock >= settings.quiet_from or clock < settings.quiet_to


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(
            f"timezone {name} is not known; write it like Africa/Dakar, and install tzdata if it is missing"
        ) from error
