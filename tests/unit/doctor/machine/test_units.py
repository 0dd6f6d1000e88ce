"""Units: what `systemctl show` says, word for word; with a real systemd it is looked at in tests/system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.doctor.machine.units import CHECK, judge
from appliance.model_doctor import Severity
from tests.doctor_patient import look, make_patient, severities, worst, write

WELL = {
    "Id": "amda.service",
    "LoadState": "loaded",
    "ActiveState": "active",
    "UnitFileState": "static",
    "NRestarts": "0",
}
TARGET = {"Id": "amda.target", "LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}


def test_all_well() -> None:
    (seen,) = judge([WELL, TARGET])
    assert (seen.severity, seen.found) == (Severity.OK, "2 of 2 units are as they should be")


@pytest.mark.parametrize(
    ("unit", "severity", "remedy"),
    [
        ({**WELL, "ActiveState": "failed", "Result": "exit-code"}, Severity.PROBLEM, "journalctl -u amda.service"),
        ({**WELL, "ActiveState": "inactive"}, Severity.PROBLEM, "systemctl start amda.service"),
        ({**WELL, "LoadState": "masked", "ActiveState": "inactive"}, Severity.PROBLEM, "systemctl unmask amda.service"),
        ({**WELL, "NRestarts": "17"}, Severity.WARNING, "journalctl -u amda.service"),
        ({**TARGET, "UnitFileState": "disabled"}, Severity.PROBLEM, "systemctl enable amda.target"),
        ({**TARGET, "Id": "amda-backup.timer", "UnitFileState": "disabled"}, Severity.PROBLEM, "systemctl enable"),
    ],
)
def test_what_is_not_as_it_should_be(unit: dict[str, str], severity: Severity, remedy: str) -> None:
    seen = judge([unit, TARGET])
    assert worst(seen).severity is severity
    assert worst(seen).remedy.startswith(remedy)
    assert worst(seen).looked_at == unit["Id"]


def test_what_a_timer_starts_need_not_run() -> None:
    assert severities(judge([{**WELL, "Id": "amda-backup.service", "ActiveState": "inactive"}])) == [Severity.OK]


def test_not_installed(tmp_path: Path) -> None:
    (seen,) = look(CHECK, make_patient(tmp_path))
    assert seen.severity is Severity.INFO


def test_what_systemctl_says_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = make_patient(tmp_path)
    write(patient, "/etc/systemd/system/amda.service", "")
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n[ $1 = show ] && [ $3 = amda.service ] && "
        "printf 'Id=amda.service\\nLoadState=loaded\\nActiveState=failed\\nResult=signal\\n'\n"
    )
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    assert "it has failed (signal)" in worst(look(CHECK, patient)).found
    program.write_text("#!/bin/sh\necho 'System has not been booted with systemd' >&2; exit 1\n")
    (seen,) = look(CHECK, patient)
    assert seen.partial
    assert "not been booted" in seen.found
