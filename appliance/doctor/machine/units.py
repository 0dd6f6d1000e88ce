"""Whether systemd starts everything with the machine, and everything runs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Final

from appliance.doctor.check import Check, Patient, Seen, in_thread, info, ok, problem, unseen, warning

FOLDER: Final = "/etc/systemd/system"
TARGET: Final = "amda.target"
ANSWER_S: Final = 10.0
RESTARTS: Final = 5
"""Since it was started by somebody: more than a bad day."""
_PROPERTIES: Final = "Id,LoadState,ActiveState,SubState,UnitFileState,NRestarts,Result"


def look(patient: Patient) -> list[Seen]:
    names = sorted(
        path.name for path in patient.at(FOLDER).glob("amda*") if path.suffix in (".service", ".target", ".timer")
    )
    if not names:
        return [info("no units of the appliance are installed: it runs in a terminal, or not at all", "", FOLDER)]
    program = shutil.which("systemctl")
    if program is None:
        return [unseen("there is no systemctl")]
    try:
        done = subprocess.run(
            [program, "show", f"--property={_PROPERTIES}", *names],
            capture_output=True,
            text=True,
            timeout=ANSWER_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [
            problem(f"systemd does not answer within {ANSWER_S:g} s", "systemctl status; journalctl -b -u init.scope")
        ]
    if done.returncode:
        return [unseen(f"systemd does not answer: {done.stderr.strip().splitlines()[-1:] or 'no reason given'}")]
    return judge([_properties(block) for block in done.stdout.strip().split("\n\n")])


def judge(units: list[Mapping[str, str]]) -> list[Seen]:
    """What their properties mean, as `systemctl show` gives them."""
    seen = [one for unit in units for one in _judge(unit)]
    well = len(units) - len({one.looked_at for one in seen})
    return [*seen, ok(f"{well} of {len(units)} units are as they should be")]


def _judge(unit: Mapping[str, str]) -> Iterator[Seen]:
    name, active, state = unit["Id"], unit["ActiveState"], unit.get("UnitFileState", "")
    by_timer = name == "amda-backup.service"
    if unit.get("LoadState") == "masked" or state == "masked":
        yield problem("it is masked and cannot be started", f"systemctl unmask {name}", name)
    elif active == "failed":
        yield problem(f"it has failed ({unit.get('Result')})", f"journalctl -u {name} -n 30", name)
    elif active not in ("active", "activating", "reloading") and not by_timer:
        yield problem(f"it does not run ({active})", f"systemctl start {name}", name)
    elif unit.get("NRestarts", "0").isdigit() and int(unit.get("NRestarts", "0")) > RESTARTS:
        found = f"it was started again {unit['NRestarts']} times by itself"
        yield warning(found, f"journalctl -u {name}; systemctl reset-failed {name} counts anew", name)
    if name.endswith((".target", ".timer")) and state not in ("enabled", "enabled-runtime", "masked", ""):
        yield problem("it is not started with the machine", f"systemctl enable {name}", name)


def _properties(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


CHECK: Final = Check("units", "units of systemd, enabled and running", in_thread(look), needs_settings=False)
