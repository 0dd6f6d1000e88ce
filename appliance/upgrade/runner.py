"""Does an upgrade's steps one after the other and writes down, before and after each, where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from appliance.upgrade import plan
from appliance.upgrade.faults import UpgradeError
from appliance.upgrade.plan import Journal


class Site(Protocol):
    """Where it happens: a server, or a test's stand-in for one."""

    async def perform(self, journal: Journal) -> Journal:
        """Do `journal.step`, whatever of it was done before; returns the journal with what was learnt. Raises
        UpgradeError."""
        ...


async def carry_out(
    journal: Journal, site: Site, save: Callable[[Journal], None], tell: Callable[[Journal], None]
) -> Journal:
    """From where the journal says to the end, forwards or back; `tell` hears of each step before it begins.

    Returns the journal at its end. One without outcome is stuck on its way back: its error says why.
    """
    while journal.outcome is None:
        save(journal)
        tell(journal)
        back = journal.back
        try:
            journal = plan.succeeded(await site.perform(journal))
        except UpgradeError as error:
            journal = plan.failed(journal, str(error), error.remedy, int(error.fault))
            if back:
                break
    save(journal)
    return journal
