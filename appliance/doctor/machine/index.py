"""Whether what the index says is in the store is there: a sample, by size."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Final

from appliance.doctor.check import Check, Patient, Seen, apart, info, ok, problem, unseen
from appliance.doctor.database_file import HiddenError, rows
from appliance.doctor.machine.store import opened_store
from appliance.media.store import ObjectStore, StoreError

SAMPLE: Final = 40
"""A twentieth of the objects being gone is found with a probability of 87 %; `amda storage check` looks at all."""
AT_ONCE: Final = 4
_SETTLED: Final = "FROM objects WHERE refs > 0 AND key NOT IN (SELECT key FROM pending_objects)"
"""What is being uploaded or deleted just now may be there or not."""


async def look(patient: Patient) -> list[Seen]:
    database = patient.settings.paths.database
    try:
        store = await apart(lambda: opened_store(patient))
    except (HiddenError, sqlite3.Error, ValueError) as error:
        return [unseen(f"index and store could not be compared: {error}")]
    try:
        sample = await apart(
            lambda: rows(database, f"SELECT key, size {_SETTLED} ORDER BY random() LIMIT ?", (SAMPLE,))
        )
        wrong = await _differing(store, {row["key"]: row["size"] for row in sample})
        still = await apart(
            lambda: [key for key in wrong if rows(database, f"SELECT 1 {_SETTLED} AND key = ?", (key,))]
        )
    except FileNotFoundError:
        return [info("there is no index yet: nothing was ever stored")]
    except sqlite3.Error as error:
        return [problem(f"the index cannot be read: {error}", "Restore a backup of amda.db, or check the disk.")]
    except StoreError as error:
        return [problem(f"the store cannot be looked at: {error}", "See the check store: amda doctor --only store")]
    finally:
        await store.close()
    if still:
        found = f"of {len(sample)} objects {len(still)} are not in {store.name} as the index says, as {still[0]}"
        return [problem(found, "amda storage check tells all of it; with --repair it puts the index right")]
    if not sample:
        return [info("nothing is stored yet")]
    return [ok(f"{len(sample)} objects, taken at random, lie in {store.name} with their sizes")]


async def _differing(store: ObjectStore, sizes: dict[str, int]) -> list[str]:
    room = asyncio.Semaphore(AT_ONCE)

    async def wrong(key: str, size: int) -> bool:
        async with room:
            found = await store.stat(key)
        return found is None or found.size != size

    answers = await asyncio.gather(*(wrong(key, size) for key, size in sizes.items()))
    return [key for key, differs in zip(sizes, answers, strict=True) if differs]


CHECK: Final = Check("index", "index against store, by a sample", look, bound_s=30.0)
