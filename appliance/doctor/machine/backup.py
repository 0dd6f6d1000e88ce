"""How old the last good backup is: it holds the logins, and without one every account has to be linked again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import msgspec

from appliance.backup.record import NAME
from appliance.doctor.check import Check, Patient, Seen, in_thread, info, ok, problem, unseen, warning
from appliance.doctor.database_file import HiddenError, must_be_visible
from appliance.media.settings import StorageKind
from appliance.model_backup import BackupRecord

LATE_DAYS: Final = 2.0
"""The timer makes one a day; a machine may be off for one of them."""
OLD_DAYS: Final = 7.0
UNPROVEN_DAYS: Final = 30.0
"""Since one was last taken out and compared."""
_DAY_S: Final = 86_400.0


def look(patient: Patient) -> list[Seen]:
    file = patient.settings.paths.backups / NAME
    looked_at = f"backups, as recorded in {file}"
    try:
        must_be_visible(file)
        record = msgspec.json.decode(file.read_bytes(), type=BackupRecord)
    except HiddenError as error:
        return [unseen(str(error), looked_at)]
    except FileNotFoundError:
        record = BackupRecord()
    except (OSError, msgspec.DecodeError) as error:
        found = f"the record cannot be read: {error.strerror if isinstance(error, OSError) else 'it is damaged'}"
        return [warning(found, f"rm {file}; then make a backup", looked_at)]
    return [*_judge(record, time.time(), looked_at), *_same_disk(patient)]


def _judge(record: BackupRecord, now: float, looked_at: str) -> Iterator[Seen]:
    if record.error:
        yield problem(f"the last one failed: {record.error}", "Mend that, then: amda backup run", looked_at)
    if record.last_run is None:
        found = "no backup has ever run: with this disk every login is lost, and has to be linked again by its owner"
        yield warning(found, "amda backup run", looked_at)
        return
    days = (now - record.last_run.at) / _DAY_S
    hours = days * 24
    told = f"the last good one was made {days:.0f} days ago"
    if days < LATE_DAYS:
        told = f"the last good one was made {hours:.0f} hours ago"
    if days > OLD_DAYS:
        yield problem(told, "amda backup run says why; systemctl list-timers amda-backup.timer", looked_at)
    elif days > LATE_DAYS:
        yield warning(told, "amda backup run; systemctl list-timers amda-backup.timer", looked_at)
    else:
        yield ok(told, looked_at)
    if skipped := record.last_run.skipped:
        found = f"the logins of {len(skipped)} sessions are not in it, as of {next(iter(skipped))}"
        yield problem(found, "amda backup status says why", looked_at)
    proven = None if record.last_check is None else (now - record.last_check.at) / _DAY_S
    if proven is None or proven > UNPROVEN_DAYS:
        found = "none was ever taken out and compared"
        if proven is not None:
            found = f"for {proven:.0f} days none was taken out and compared"
        yield info(found, "amda backup verify", looked_at)
    if record.key_confirmed_at is None:  # whoever made it: on a server install.sh does, and records nothing
        found = "nobody has said that their key is kept elsewhere: if it is lost with this machine, so are they"
        yield warning(found, "amda backup key shows it; write it down, and confirm it there", "the key of the backups")


def _same_disk(patient: Patient) -> Iterator[Seen]:
    """Whether one broken disk takes both."""
    backup, state_dir = patient.settings.backup, patient.settings.paths.state_dir
    if backup.kind is not StorageKind.FOLDER or not backup.path.is_dir():
        return
    if backup.path.stat().st_dev == state_dir.stat().st_dev:
        found = "they lie on the disk that they are made for: who loses it loses both"
        remedy = "Let backup.path lead to another disk, or set backup.kind to s3."
        yield info(found, remedy, f"backups in {backup.path}")


CHECK: Final = Check("backup", "backups, their age, proof and key", in_thread(look))
