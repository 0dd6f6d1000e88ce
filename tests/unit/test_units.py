"""What the units promise each other; that they start and are hardened is in tests/system."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from appliance.media.compression.confined import FIRST_TO_GO
from appliance.worker.sandbox import OOM_SCORE_ADJ

UNITS = Path(__file__).resolve().parents[2] / "systemd"
SPARED = ("amda.service", "amda-redis.service")


def setting(unit: str, name: str) -> str:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / unit)
    return parser["Slice" if unit.endswith(".slice") else "Service"][name]


def score(unit: str) -> int:
    return int(setting(unit, "OOMScoreAdjust"))


def mib(unit: str, name: str) -> int:
    found = re.fullmatch(r"(\d+)M", setting(unit, name))
    assert found
    return int(found[1])


def test_whom_the_kernel_ends_first_when_memory_runs_out() -> None:
    helpers = min(int(FIRST_TO_GO), score("amda-backup.service"))
    assert helpers > OOM_SCORE_ADJ > score("amda-proxy.service") > score("amda-minio.service") > score("amda.service")
    assert score("amda.service") == score("amda-sessions.service") > score("amda-redis.service")
    for unit in ("amda.service", "amda-sessions.service"):
        assert setting(unit, "OOMPolicy") == "continue", "a child that is killed does not take its unit along"


def test_what_must_go_on_has_memory_that_is_never_taken_away() -> None:
    for unit in SPARED:
        assert setting(unit, "Slice") == "amda.slice"
        assert 0 < mib(unit, "MemoryMin") < mib(unit, "MemoryHigh")
    promised = sum(mib(unit, "MemoryMin") for unit in SPARED)
    assert mib("amda.slice", "MemoryMin") == promised, "the kernel counts only what the groups above promise, too"
