"""An upgrade from the operator's wish to its end: what is possible, what is shown before, what is gone on with."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from appliance.model import SessionState
from appliance.model_api import StatusView, VersionView
from appliance.upgrade import engines, offers, plan
from appliance.upgrade.changelog import between, version_key
from appliance.upgrade.faults import Fault, UpgradeError
from appliance.upgrade.journal import JournalFile
from appliance.upgrade.machine import Machine
from appliance.upgrade.offers import Offer, Publisher
from appliance.upgrade.plan import Journal, Kind, Place, Step
from appliance.upgrade.runner import carry_out
from appliance.upgrade.site import MachineSite

CANARIES: Final = 1
WATCH_S: Final = 60.0
"""The engine pings every 20 to 30 s: a canary has been answered twice."""
_BY_HAND: Final = "sudo amda upgrade --to PATH|URL|VERSION"


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator asks for."""

    to: str | None = None
    sha256: str | None = None
    canary: int = CANARIES
    watch_s: float = WATCH_S


def require_server(machine: Machine) -> None:
    """Raises UpgradeError where install.sh has not made a server, or we may not change it."""
    if not (machine.opt / "current").is_symlink():
        raise UpgradeError(
            Fault.NOT_A_SERVER,
            f"this appliance was not put here by install.sh: there is no {machine.opt / 'current'}",
            "in a checkout: stop it, update the checkout, run ./install.sh --demo or amda run again; nothing runs on "
            "meanwhile. Upgrades without disconnections need a server: docs/upgrade.md",
        )
    if os.geteuid() != 0:
        raise UpgradeError(Fault.NEEDS_ROOT, "an upgrade needs root", "sudo amda …")


def offer_of(machine: Machine, wish: Wish, publisher: Publisher | None, downloads: Path) -> Offer:
    """The release that is meant. Raises UpgradeError."""
    to = wish.to
    if to is not None and "://" in to:
        if wish.sha256 is None:
            raise UpgradeError(
                Fault.NOT_VERIFIED, "an address needs --sha256", "whoever publishes the release names it"
            )
        return offers.from_address(to, wish.sha256, downloads)
    if to is not None and Path(to).is_dir():
        return offers.from_folder(Path(to))
    if to is not None and Path(to).is_file():
        return offers.from_archive(Path(to), wish.sha256)
    if to is not None:
        same = [offer for offer in offers.installed(machine.releases) if _named(offer, to)]
        if same:
            return same[-1]
        if "/" in to:
            raise UpgradeError(Fault.NO_SUCH_RELEASE, f"there is no {to}", _BY_HAND)
    if publisher is None:
        raise UpgradeError(
            Fault.NO_SOURCE,
            "nothing says where releases are published",
            "name one: amda upgrade --to PATH|URL; or set upgrade.url and upgrade.signers once",
        )
    return offers.published(publisher, to, downloads)


def _named(offer: Offer, name: str) -> bool:
    return offer.place is not None and name in (offer.version, offer.place.name)


async def what_runs(machine: Machine) -> tuple[VersionView, StatusView]:
    """Raises UpgradeError unless a daemon answers that has a fork server: an upgrade is no repair."""
    version, status = await machine.version(), await machine.status()
    if version is None or status is None:
        raise UpgradeError(Fault.NOT_RUNNING, "the daemon does not answer", "systemctl start amda; journalctl -u amda")
    if version.forks is None:
        raise UpgradeError(Fault.NOT_RUNNING, "the fork server does not answer", "systemctl status amda-sessions")
    return version, status


def begin_release(machine: Machine, offer: Offer, wish: Wish, version: VersionView, status: StatusView) -> Journal:
    """The journal of a new upgrade, if it is possible. Raises UpgradeError."""
    source = offers.here(machine.current)
    place = source.place
    assert place is not None  # noqa: S101 (of a folder that is here it always says where)
    if offer.place is not None and offer.place.name == place.name:
        raise UpgradeError(Fault.NOT_POSSIBLE, f"{place.name} is what runs already", "there is nothing to do")
    if version.build != place.name:
        raise UpgradeError(
            Fault.NOT_RUNNING, f"the daemon is {version.build}, and {place.name} is current", "systemctl restart amda"
        )
    if version_key(offer.version) < version_key(source.version) or offer.schema < source.schema:
        raise UpgradeError(
            Fault.NOT_POSSIBLE,
            f"{offer.version} is older than {source.version}, which runs",
            "amda upgrade --rollback goes back to the release before; a fresh machine takes any, and a backup",
        )
    if source.protocol not in (offer.protocol, offer.protocol - 1):
        raise UpgradeError(
            Fault.NOT_POSSIBLE,
            f"the daemon of {offer.version} does not understand the sessions of {source.version}",
            "upgrade to a release in between first: no release skips more than one step of the protocol",
        )
    target = offer.place or Place(name="", folder="", version=offer.version)
    engine = engines.link(machine.engines)
    own = str(engine.resolve()) if engine.is_dir() else ""
    kept = own and version_key(Path(own).name.partition("-")[0]) > version_key(_engine_of(offer) or "0")
    return msgspec.structs.replace(
        _new(Kind.RELEASE, place, target, offer.origin, wish, status),
        schema=source.schema,
        engine=own,
        engine_after=own if kept else "",
    )


def _engine_of(offer: Offer) -> str:
    """Version of the engine that a release brings."""
    match = re.search(rf"^{engines.PACKAGE}==(\S+)", offer.lock, re.MULTILINE)
    return match[1] if match else ""


def begin_engine(machine: Machine, wish: Wish, downloads: Path, status: StatusView) -> Journal:
    """As `begin_release`, for the engine in a wheel. Raises UpgradeError."""
    if wish.to is None:
        raise UpgradeError(
            Fault.NO_SOURCE, "which engine?", "amda engine upgrade --to FILE.whl, or --to VERSION --sha256 HEX"
        )
    wheel = Path(wish.to)
    if not wheel.is_file():
        if "/" in wish.to or wish.to.endswith(".whl"):
            raise UpgradeError(Fault.NO_SUCH_RELEASE, f"there is no {wheel}", "name a wheel, or a version")
        if wish.sha256 is None:
            raise UpgradeError(
                Fault.NOT_VERIFIED, "a download needs --sha256", "the package index names the hash of each wheel"
            )
        wheel = engines.download(wish.to, wish.sha256, machine.python(str(machine.current)), downloads)
    target = engines.offered(wheel, machine.engines)
    link = engines.link(machine.engines)
    source = Place(name="", folder="", version="")
    if link.is_dir():
        source = msgspec.structs.replace(target, name=link.resolve().name, folder=str(link.resolve()))
        source = msgspec.structs.replace(source, version=source.name.partition("-")[0])
    if source.name == target.name:
        raise UpgradeError(Fault.NOT_POSSIBLE, f"{target.name} is what sessions run already", "there is nothing to do")
    return _new(Kind.ENGINE, source, target, [str(wheel.resolve())], wish, status)


def _new(kind: Kind, source: Place, target: Place, origin: Sequence[str], wish: Wish, status: StatusView) -> Journal:
    now = time.time()
    return Journal(
        id=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)),
        kind=kind,
        source=source,
        target=target,
        origin=list(origin),
        canary=wish.canary,
        watch_s=wish.watch_s,
        step=Step.STAGE,
        driver=sys.executable,
        started_at=now,
        updated_at=now,
        degraded=[part.part for part in status.degraded],
        sessions=sum(status.sessions.get(state, 0) for state in (SessionState.ONLINE, SessionState.DEGRADED)),
    )


def changes(machine: Machine, offer: Offer) -> str:
    """What the changelog says of everything between what runs and what is offered."""
    return between(offer.changelog, offers.here(machine.current).version, offer.version)


def unfinished(folder: Path, kind: Kind) -> Journal | None:
    """The upgrade of this kind that has no end yet. Raises UpgradeError for one of the other kind."""
    for other in Kind:
        journal = JournalFile(folder, other).read()
        if journal is not None and journal.outcome is None:
            if other is kind:
                return journal
            command = "amda upgrade" if other is Kind.RELEASE else "amda engine upgrade"
            raise UpgradeError(
                Fault.UNFINISHED,
                f"an upgrade of the {other} has no end yet",
                f"{command} goes on, {command} --rollback goes back",
            )
    return None


def to_go_back(file: JournalFile) -> Journal:
    """The journal with which the last upgrade is taken back. Raises UpgradeError."""
    journal = file.read()
    if journal is None or journal.outcome is plan.Outcome.UNDONE:
        raise UpgradeError(Fault.NOTHING_TO_UNDO, "there is no upgrade to take back", "amda upgrade --status")
    if journal.kind is Kind.RELEASE and not Path(journal.source.folder).is_dir():
        raise UpgradeError(
            Fault.NOTHING_TO_UNDO,
            f"{journal.source.name} is no longer on this machine",
            "upgrade to it as to any other",
        )
    return plan.turned_back(msgspec.structs.replace(journal, error="", remedy="", fault=0))


async def conduct(machine: Machine, file: JournalFile, journal: Journal, show: Callable[[Journal], None]) -> Journal:
    """To the end, from where the journal says; `show` hears of every step and of the progress in it."""

    def note(progress: Journal) -> None:
        file.write(progress)
        show(progress)

    return await carry_out(journal, MachineSite(machine, note), file.write, show)
