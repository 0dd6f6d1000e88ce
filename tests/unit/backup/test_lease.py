"""Who may run the sessions: the lease as a pure decision, and beside a repository in a folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.backup.errors import BackupError, BackupTrouble
from appliance.backup.lease import (
    LIVE_S,
    NAME,
    Claim,
    Lease,
    Verdict,
    check_nobody_runs,
    check_ours,
    judge,
    read_lease,
    take_lease,
    taken_over,
    write_lease,
)
from appliance.backup.repository import FolderRepository

OLD = Lease(lineage="line", node_id="old", host="oldbox", term=3, renewed_at=0.0)


def claim(node_id: str = "new", term: int = 4, lineage: str = "line") -> Claim:
    return Claim(lineage=lineage, node_id=node_id, term=term)


@pytest.mark.parametrize(
    ("found", "ours", "verdict"),
    [
        (None, claim(), Verdict.HOLD),
        (OLD, claim(node_id="old", term=1), Verdict.HOLD),
        (OLD, claim(term=4), Verdict.HOLD),
        (OLD, claim(term=3), Verdict.SUPERSEDED),
        (OLD, claim(term=0), Verdict.SUPERSEDED),
        (OLD, claim(term=9, lineage="other"), Verdict.FOREIGN),
    ],
)
def test_what_a_lease_means(found: Lease | None, ours: Claim, verdict: Verdict) -> None:
    assert judge(found, ours) is verdict


@given(st.lists(st.integers(min_value=0, max_value=3), min_size=1, max_size=20), st.data())
def test_of_any_machines_that_took_over_only_the_last_one_runs(takers: list[int], data: st.DataObject) -> None:
    """Whoever looks, in whatever order and however often, the machine that took over last is the one that goes on."""
    lease: Lease | None = None
    terms: dict[str, int] = {}
    for taker in takers:
        lease = taken_over(lease, "line", f"node{taker}", "host", terms.get(f"node{taker}", 0))
        terms[lease.node_id] = lease.term
    assert lease is not None
    last = lease.node_id
    for _ in range(10):
        node = data.draw(st.sampled_from(sorted(terms)))
        verdict = judge(lease, claim(node_id=node, term=terms[node]))
        assert verdict is (Verdict.HOLD if node == last else Verdict.SUPERSEDED)
        if verdict is Verdict.HOLD:
            lease = msgspec.structs.replace(lease, renewed_at=lease.renewed_at + 1)


@pytest.fixture
def repository(tmp_path: Path) -> FolderRepository:
    return FolderRepository(tmp_path)


async def test_a_restore_waits_for_a_machine_that_renews(repository: FolderRepository) -> None:
    await write_lease(repository, msgspec.structs.replace(OLD, renewed_at=time.time()))
    with pytest.raises(BackupError, match=r"oldbox still runs these sessions \(it said so 0 s ago\)") as refused:
        await check_nobody_runs(repository, "new", old_machine_is_off=False)
    assert refused.value.kind is BackupTrouble.REFUSED
    assert "--old-machine-is-off" in refused.value.remedy
    assert await check_nobody_runs(repository, "new", old_machine_is_off=True) is not None
    assert await check_nobody_runs(repository, "old", old_machine_is_off=False) is not None, "it is its own"


@pytest.mark.parametrize(("age", "live"), [(LIVE_S - 5, True), (LIVE_S + 5, False), (-3600, True)])
async def test_a_lease_grows_old(repository: FolderRepository, age: float, *, live: bool) -> None:
    await write_lease(repository, msgspec.structs.replace(OLD, renewed_at=time.time() - age))
    if live:
        with pytest.raises(BackupError, match="clocks" if age < 0 else "still runs"):
            await check_nobody_runs(repository, None, old_machine_is_off=False)
    else:
        assert (await check_nobody_runs(repository, None, old_machine_is_off=False)) is not None


async def test_a_machine_that_was_replaced_makes_no_backup_that_would_be_the_newest(
    repository: FolderRepository,
) -> None:
    await check_ours(repository, claim())
    await write_lease(repository, OLD)
    await check_ours(repository, claim(term=4))
    for ours, reason in ((claim(term=2), "oldbox has taken over"), (claim(lineage="other"), "another appliance")):
        with pytest.raises(BackupError, match=reason) as refused:
            await check_ours(repository, ours)
        assert refused.value.kind is BackupTrouble.REFUSED
    assert (await take_lease(repository, claim(term=2))).term == 4
    await check_ours(repository, claim(term=2))


async def test_no_lease_stops_nobody_and_a_broken_one_everybody(repository: FolderRepository, tmp_path: Path) -> None:
    assert await check_nobody_runs(repository, "new", old_machine_is_off=False) is None
    (tmp_path / NAME).write_text("{")
    with pytest.raises(BackupError, match="cannot be read"):
        await read_lease(repository)
    assert (tmp_path / NAME).read_text() == "{"


async def test_a_lease_is_private_and_replaced_whole(repository: FolderRepository, tmp_path: Path) -> None:
    for term in (1, 2):
        await write_lease(repository, msgspec.structs.replace(OLD, term=term))
        assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == [NAME]  # noqa: PTH208 - one name
    found = await read_lease(repository)
    assert found is not None
    assert found.term == 2
