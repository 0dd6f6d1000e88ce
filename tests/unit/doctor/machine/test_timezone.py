"""Time zones: this machine's database, none at all, and names that lead nowhere."""

from __future__ import annotations

import zoneinfo
from pathlib import Path

import pytest

from appliance.doctor.machine.timezone import CHECK
from appliance.model_doctor import Severity
from tests.doctor_patient import look, make_patient, severities


def test_without_a_database(tmp_path: Path) -> None:
    kept = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([str(tmp_path)])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        seen = look(CHECK, make_patient(tmp_path))
    finally:
        zoneinfo.reset_tzpath(kept)
    assert severities(seen) == [Severity.WARNING]
    assert seen[0].remedy == "apt install tzdata"


def known() -> bool:
    try:
        zoneinfo.ZoneInfo("Africa/Dakar")
    except zoneinfo.ZoneInfoNotFoundError:
        return False
    return True


@pytest.mark.skipif(not known(), reason="this machine has no database of time zones: the test above is about that")
def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    patient = make_patient(tmp_path)
    assert severities(look(CHECK, patient)) == [Severity.OK]
    local = patient.at("/etc/localtime")
    local.parent.mkdir(parents=True)
    local.symlink_to("/usr/share/zoneinfo/Atlantis/Capital")
    patient.environ["TZ"] = ":Mars/Olympus"  # type: ignore[index]
    seen = look(CHECK, patient)
    assert severities(seen) == [Severity.WARNING] * 2
    assert [one.looked_at for one in seen] == ["the variable TZ", "/etc/localtime"]
