"""The table of checks: names that options and the API take, one of each, and each with a test of its own."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.doctor.checks import MACHINE, ROOMS, chosen, names

TESTS = Path(__file__).resolve().parents[2]
PACKAGE = TESTS.parent / "appliance" / "doctor"


def test_names_are_unique_and_short() -> None:
    assert len(set(names())) == len(names())
    assert all(re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name) for name in names())
    assert all(check.looks_at for check in MACHINE)
    assert all(ROOMS.values())


def test_every_module_is_in_the_table_and_has_its_own_test() -> None:
    modules = {path.stem for folder in ("machine", "rooms") for path in (PACKAGE / folder).glob("[a-z]*.py")}
    assert modules == set(names()), "a check is named as its module"
    tested = {path.stem.removeprefix("test_") for path in TESTS.glob("*/doctor/**/test_*.py")}
    assert modules <= tested


def test_chosen() -> None:
    assert chosen(MACHINE, []) == list(MACHINE)
    assert [check.name for check in chosen(MACHINE, ["swap", "disk"])] == ["disk", "swap"]
