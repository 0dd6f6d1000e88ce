"""Two releases made of this checkout: forwards, killed on the way, and back, with the network as the judge."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from appliance.client import ApplianceClient
from appliance.migrations import MIGRATIONS
from appliance.model import SessionState
from appliance.upgrade import engines, plan
from appliance.upgrade.conduct import Wish, begin_engine, begin_release, changes, conduct, what_runs
from appliance.upgrade.journal import JournalFile
from appliance.upgrade.offers import from_folder
from appliance.upgrade.plan import Journal, Kind, Outcome, Step
from tests import other_release
from tests.integration.upgrade.machine import ONLINE_S, Processes

pytestmark = [pytest.mark.staging, pytest.mark.timeout(300)]
PHONES = {"anna": "+221771234501", "berta": "+221771234502"}
WATCH_S = 1.0


@pytest_asyncio.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Processes]:
    async with Processes.open(tmp_path) as machine:
        for session, phone in PHONES.items():
            await machine.link(session, phone)
        yield machine


async def begin(machine: Processes, folder: Path) -> Journal:
    checkout = await asyncio.to_thread(other_release.changed_checkout, folder)
    offer = from_folder(checkout)
    assert other_release.NEWS in changes(machine, offer)
    return begin_release(machine, offer, Wish(canary=1, watch_s=WATCH_S), *await what_runs(machine))


def schema_of(machine: Processes) -> int:
    with closing(sqlite3.connect(machine.settings.paths.database)) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


async def builds(machine: Processes) -> dict[str, str | None]:
    """Of all sessions, once all are online: a daemon that was started just now knows of them a little later."""
    async with ApplianceClient(machine.settings.paths.api_socket) as api, asyncio.timeout(ONLINE_S):
        while any(  # noqa: ASYNC110 - looked at where a person would look
            view.state is not SessionState.ONLINE or view.build is None for view in await api.sessions()
        ):
            await asyncio.sleep(0.1)
        return {view.id: view.build for view in await api.sessions()}


async def test_a_release_forwards_killed_on_the_way_and_back(machine: Processes, tmp_path: Path) -> None:
    journal, file = await begin(machine, tmp_path / "checkout"), JournalFile(machine.opt / "upgrade", Kind.RELEASE)
    before = await machine.connections()
    assert machine.fork_server is not None
    fork_pid = machine.fork_server.pid
    in_canary = asyncio.Event()

    def show(journal: Journal) -> None:
        if journal.step is Step.CANARY and journal.moved == journal.of == 1:
            in_canary.set()

    work = asyncio.create_task(conduct(machine, file, journal, show))
    await in_canary.wait()
    work.cancel()  # as good as killed: nothing but the file is left
    await asyncio.wait([work])
    assert schema_of(machine) == len(MIGRATIONS) + 1
    new = await machine.connections()
    assert [kind for kind, _ in new[len(before) :]] == ["closed", "login"], "the canary has moved, nobody else"

    left = file.read()
    assert left is not None
    assert (left.step, left.outcome) == (Step.CANARY, None)
    done = await conduct(machine, file, left, lambda _: None)
    assert (done.outcome, done.error) == (Outcome.DONE, "")
    assert set((await builds(machine)).values()) == {done.target.name}
    assert machine.fork_server.pid == fork_pid
    new = (await machine.connections())[len(before) :]
    expected = sorted((kind, phone.lstrip("+")) for phone in PHONES.values() for kind in ("closed", "login"))
    assert sorted(new) == expected, "each once"

    await machine.link("clara", "+221771234503")
    before = await machine.connections()
    undone = await conduct(machine, file, plan.turned_back(done), lambda _: None)
    assert (undone.outcome, undone.error) == (Outcome.UNDONE, "")
    assert schema_of(machine) == len(MIGRATIONS)
    assert await builds(machine) == dict.fromkeys((*PHONES, "clara"), undone.source.name)
    new = (await machine.connections())[len(before) :]
    assert sorted(new) == sorted([*expected, ("closed", "221771234503"), ("login", "221771234503")])
    async with ApplianceClient(machine.settings.paths.api_socket) as api:
        rows = (await api.history()).items
    assert {(row.reason, row.charged) for row in rows} == {("moved", False)}


async def test_another_engine_and_the_releases_own_again(machine: Processes, tmp_path: Path) -> None:
    """What a rehearsal admits was admitted before: the rehearsal itself takes a minute, and is in tests/system."""
    (tmp_path / "wheels").mkdir()
    installed = await asyncio.to_thread(other_release.wheel_of_the_installed_engine, tmp_path / "wheels")
    wheel = await asyncio.to_thread(other_release.changed_engine, tmp_path / "wheels", tmp_path / "engine")
    assert other_release.library_hash(wheel) != other_release.library_hash(installed)
    approved = engines.Approved(sha256={other_release.library_hash(wheel): "0.5.2"})
    machine.engines.mkdir()
    engines.write_approved(machine.engines, approved)
    before, file = await builds(machine), JournalFile(machine.opt / "upgrade", Kind.ENGINE)
    seen = await machine.connections()

    _, status = await what_runs(machine)
    journal = begin_engine(machine, Wish(to=str(wheel), watch_s=WATCH_S), tmp_path / "downloads", status)
    done = await conduct(machine, file, journal, lambda _: None)
    assert (done.outcome, done.error) == (Outcome.DONE, "")
    assert await builds(machine) == {name: f"{build}+{done.target.name}" for name, build in before.items()}
    new = (await machine.connections())[len(seen) :]
    expected = sorted((kind, phone.lstrip("+")) for phone in PHONES.values() for kind in ("closed", "login"))
    assert sorted(new) == expected, "each once"

    undone = await conduct(machine, file, plan.turned_back(done), lambda _: None)
    assert (undone.outcome, undone.error) == (Outcome.UNDONE, "")
    assert await builds(machine) == before
    assert not engines.link(machine.engines).exists()
