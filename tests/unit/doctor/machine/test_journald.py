"""The journal: which of several files counts, and what no limit means."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.doctor.machine.journald import CHECK, limit_of
from appliance.model_doctor import Severity
from tests.doctor_patient import look, make_patient, write

OURS = Path(__file__).resolve().parents[4] / "provisioning" / "journald.conf"


def test_no_journal(tmp_path: Path) -> None:
    (seen,) = look(CHECK, make_patient(tmp_path))
    assert seen.severity is Severity.INFO


@pytest.mark.parametrize(("installed", "severity"), [(True, Severity.WARNING), (False, Severity.INFO)])
def test_no_limit(tmp_path: Path, installed: bool, severity: Severity) -> None:
    patient = make_patient(tmp_path)
    write(patient, "/run/systemd/journal/stdout", "")
    write(patient, "/etc/systemd/journald.conf", "[Journal]\n#SystemMaxUse=\n")
    if installed:
        write(patient, "/etc/systemd/system/amda.service", "")
    (seen,) = look(CHECK, patient)
    assert seen.severity is severity


def test_the_file_that_install_sh_puts_there(tmp_path: Path) -> None:
    patient = make_patient(tmp_path)
    write(patient, "/run/systemd/journal/stdout", "")
    write(patient, "/etc/systemd/journald.conf.d/amda.conf", OURS.read_text())
    write(patient, "/var/log/journal/machine/system.journal", "x" * (3 << 20))
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.OK
    assert "limited to 300M; 3 MiB" in seen.found


def test_the_last_file_wins_by_name_and_etc_by_folder(tmp_path: Path) -> None:
    patient = make_patient(tmp_path)
    write(patient, "/etc/systemd/journald.conf", "[Journal]\nSystemMaxUse=1G\n")
    write(patient, "/usr/lib/systemd/journald.conf.d/50-a.conf", "[Journal]\nSystemMaxUse=2G\n")
    assert limit_of(patient) == "2G"
    write(patient, "/etc/systemd/journald.conf.d/50-a.conf", "[Journal]\nCompress=yes\n")
    assert limit_of(patient) == "1G", "a file in /etc hides the one of its name in /usr/lib"
    write(patient, "/run/systemd/journald.conf.d/90-z.conf", "[Journal]\nSystemMaxUse=3G\n")
    write(patient, "/etc/systemd/journald.conf.d/95-broken.conf", "no section\n")
    assert limit_of(patient) == "3G"
