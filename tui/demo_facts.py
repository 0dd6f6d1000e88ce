"""What the simulated fleet has stored and what of it is alarming: read from its sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from appliance.model import Category, SessionState
from appliance.model_history import AlertPhase, AlertRule, AlertSeverity, AlertView
from appliance.model_storage import PruneReport, SessionUse, StorageUsage, UsageRow
from tui.demo_fleet import Fleet

QUOTA_BYTES: Final = 10_000_000_000


def usage(fleet: Fleet) -> StorageUsage:
    """Two thirds of what is stored are statuses."""
    views = [member.view for member in fleet.members.values()]
    used, quota = sum(view.media_bytes for view in views), QUOTA_BYTES
    own = quota // max(1, len(views)) * 3
    rows = [
        UsageRow(
            session=view.id,
            category=category,
            age="week",
            items=round(view.media_count * share),
            objects=round(view.media_count * share),
            size=round(view.media_bytes * share),
            original_size=round(view.media_bytes * share * 1.4),
            pinned=0,
        )
        for view in views
        for category, share in ((Category.STATUS, 0.66), (Category.DELETED, 0.24), (Category.VIEW_ONCE, 0.1))
    ]
    return StorageUsage(
        store="folder",
        used=used,
        in_flight=0,
        foreign=0,
        quota=quota,
        share=used / quota,
        pinned=used // 50,
        original_size=round(used * 1.4),
        per_day=used / 30,
        days_left=(quota - used) / (used / 30) if used else None,
        prune_mode="auto",
        sessions=[
            SessionUse(session=view.id, items=view.media_count, size=view.media_bytes, share=view.media_bytes / own)
            for view in views
        ],
        rows=rows,
    )


def prune(fleet: Fleet) -> PruneReport:
    """What would go: a twentieth of what each of the ten largest sessions has."""
    largest = sorted(fleet.members.values(), key=lambda member: -member.view.media_bytes)[:10]
    going = {member.view.id: member.view.media_bytes // 20 for member in largest if member.view.media_bytes > 20}
    used = sum(member.view.media_bytes for member in fleet.members.values()) - sum(going.values())
    count = 3 * len(going)
    return PruneReport(
        dry_run=True,
        objects=count,
        size=sum(going.values()),
        by_reason={"expired": count} if count else {},
        by_session=going,
        used=used,
    )


def alarming(fleet: Fleet) -> Iterator[AlertView]:
    rules = {SessionState.NEEDS_PAIRING: AlertRule.NEEDS_PAIRING, SessionState.REPLACED: AlertRule.REPLACED}
    for member in fleet.members.values():
        rule = rules.get(member.view.state)
        if rule is not None:
            yield AlertView(
                id=f"{rule}-{member.view.id}",
                rule=rule,
                session=member.view.id,
                severity=AlertSeverity.ALERT,
                phase=AlertPhase.DOWN,
                text=member.view.meaning,
                remedy=member.view.remedy,
                since=member.view.since,
            )
