"""Something for the doctor to look at: settings in a folder of the test, and a root of files that the test writes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from appliance.config import CONFIG_VARIABLE, read_settings
from appliance.database import Database
from appliance.doctor.check import Check, Patient, Seen
from appliance.model_doctor import Severity


def make_patient(folder: Path, **variables: str) -> Patient:
    """State in folder/state, system files below folder/root. `variables`: settings, as `storage_quota_bytes`."""
    file = folder / "amda.toml"
    if not file.exists():
        file.write_text("")
        file.chmod(0o600)
    given = {"paths_state_dir": str(folder / "state"), **variables}
    environ = {f"AMDA_{name.upper()}": value for name, value in given.items()}
    environ[CONFIG_VARIABLE] = str(file)
    return Patient(read_settings(None, environ), environ, root=folder / "root")


def write(patient: Patient, path: str, text: str) -> Path:
    """A file of the patient's system."""
    file = patient.at(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def look(check: Check, patient: Patient) -> list[Seen]:
    """What a check sees."""
    return asyncio.run(check.look(patient))  # type: ignore[arg-type]


def severities(seen: list[Seen]) -> list[Severity]:
    return [one.severity for one in seen]


def worst(seen: list[Seen]) -> Seen:
    return max(seen, key=lambda one: one.severity.rank)


async def made_database(patient: Patient, *statements: str) -> None:
    """The daemon's database with these statements carried out."""
    database = await Database.open(patient.settings.paths.database)
    try:
        for statement in statements:
            await database.execute(statement)
    finally:
        await database.close()
