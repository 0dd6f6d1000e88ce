"""A store, a journal and faults of their own for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.staging.faults import Faults
from appliance.staging.journal import Journal
from appliance.staging.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "state.db")
    store.open()
    yield store
    store.close()


@pytest.fixture
def journal(store: Store) -> Journal:
    journal = Journal(store)
    journal.load()
    return journal


@pytest.fixture
def faults(journal: Journal) -> Faults:
    return Faults(journal)
