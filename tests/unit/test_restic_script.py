"""scripts/restic.sh, run for real with stand-ins for apt: where restic comes from, and what is without."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("sh", "mkdir", "mktemp", "rm", "mv", "chmod", "cat", "env", "dirname")
APT = """\
#!/bin/sh
echo "apt-get $*" >>"$CALLS"
[ -z "${NO_ARCHIVE-}" ] || exit 100
: >restic_1_amd64.deb
"""
DPKG = """\
#!/bin/sh
mkdir -p "$3/usr/bin"
printf '#!/bin/sh\\necho fetched\\n' >"$3/usr/bin/restic"
chmod +x "$3/usr/bin/restic"
"""


class Machine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tools = folder / "bin"
        self.tools.mkdir()
        for tool in TOOLS:
            (self.tools / tool).symlink_to(str(shutil.which(tool)))
        self.add("apt-get", APT)
        self.add("dpkg-deb", DPKG)

    def add(self, name: str, text: str) -> None:
        (self.tools / name).write_text(text)
        (self.tools / name).chmod(0o755)

    def obtain(self, **environment: str) -> tuple[int, str, str]:
        """Exit status, what `restic` says afterwards, messages."""
        script = (
            f'set -eu; root={ROOT}; say() {{ echo "$*" >&2; }}; fail() {{ say "$2"; exit "$1"; }}; '
            '. "$root/scripts/restic.sh"; obtain_restic; restic 2>/dev/null || :'
        )
        given = {"PATH": str(self.tools), "HOME": str(self.folder), "CALLS": str(self.folder / "calls"), **environment}
        done = subprocess.run(
            [str(self.tools / "sh"), "-c", script], env=given, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout.strip(), done.stderr

    @property
    def calls(self) -> list[str]:
        log = self.folder / "calls"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_one_that_is_here(machine: Machine) -> None:
    machine.add("restic", "#!/bin/sh\necho ours\n")
    assert machine.obtain()[:2] == (0, "ours")
    assert machine.calls == []


def test_fetched_once_and_kept(machine: Machine) -> None:
    assert machine.obtain()[:2] == (0, "fetched")
    assert machine.obtain()[:2] == (0, "fetched")
    assert machine.calls == ["apt-get -qq download restic"]
    assert [path.name for path in (machine.folder / ".cache" / "amda-test").iterdir()] == ["restic"]


@pytest.mark.parametrize("required", [True, False])
def test_none_to_be_had(machine: Machine, *, required: bool) -> None:
    environment = {"AMDA_TEST_RESTIC_REQUIRED": "1"} if required else {}
    status, _, said = machine.obtain(NO_ARCHIVE="1", **environment)
    assert status == (32 if required else 0)
    assert ("AMDA_TEST_RESTIC_REQUIRED is set" if required else "are not run") in said
    assert list((machine.folder / ".cache" / "amda-test").iterdir()) == []
