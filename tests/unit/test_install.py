"""install.sh and scripts/venv.sh, run for real in a copy of the checkout, with stand-ins for Python and pip on PATH.

What only a bare machine can show (that the pinned wheels really install and run) is tried on Debian roots, not here.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    *("install.sh", "scripts/venv.sh", "provisioning"),
    *("pyproject.toml", "requirements.lock", "requirements-dev.lock"),
)
TOOLS = (
    *("sh", "awk", "cat", "cp", "cut", "dirname", "env", "flock", "grep", "mkdir", "mktemp"),
    *("date", "rm", "sed", "sha256sum", "tail", "tr", "uname"),
)
"""What install.sh may use: all of it is in a minimal Debian (mawk included). No Python among them."""

FAKE_PYTHON = """\
#!/bin/sh
echo "python $*" >>"$CALLS"
case $* in
    --version) echo "Python 3.12.0" ;;
    -c*) exit "${FAKE_UNFIT:-0}" ;;
    "-m venv"*)
        if [ -n "${FAKE_VENV_ERROR-}" ]; then echo "$FAKE_VENV_ERROR" >&2; exit 1; fi
        mkdir -p "$4/bin" && cp "$0" "$4/bin/python"
        ;;
    "-m pip"*--editable*)
        for name in amda amda-tui; do
            printf '#!/bin/sh\\necho "$0 $*"\\n' >"${0%/*}/$name"
            chmod +x "${0%/*}/$name"
        done
        ;;
    "-m pip"*--requirement*)
        if [ -n "${FAKE_PIP_ERROR-}" ]; then echo "$FAKE_PIP_ERROR" >&2; exit 1; fi
        echo "Collecting aiohttp==1.0"
        ;;
esac
"""


@dataclass
class Checkout:
    """A copy of what install.sh needs, and a PATH on which nothing else is."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def calls(self) -> list[str]:
        log = Path(self.environment["CALLS"])
        return log.read_text().splitlines() if log.exists() else []

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(self.folder / "install.sh"), *arguments],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    folder = tmp_path / "a checkout"  # a path with a blank, as people have them
    for part in PARTS:
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target)
        else:
            shutil.copy(ROOT / part, target)
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in (*TOOLS, "chmod"):
        real = shutil.which(tool)
        assert real is not None
        (tools / tool).symlink_to(real)
    (tools / "id").write_text("#!/bin/sh\nif [ $1 = -u ]; then echo 1000; else echo alice; fi\n")
    (tools / "id").chmod(0o755)
    return Checkout(folder, {"PATH": str(tools), "CALLS": str(tmp_path / "calls"), "HOME": str(tmp_path)})


@pytest.fixture
def with_python(checkout: Checkout, tmp_path: Path) -> Checkout:
    python = tmp_path / "bin" / "python3"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    return checkout


def test_help_is_the_header(checkout: Checkout) -> None:
    done = checkout.run("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("install.sh: ")
    assert "--demo" in done.stdout
    assert "set -eu" not in done.stdout


def test_through_a_pipe_it_says_where_its_manual_is() -> None:
    with (ROOT / "install.sh").open("rb") as script:
        done = subprocess.run(["sh", "-s", "--", "--help"], stdin=script, capture_output=True, text=True, check=False)
    assert (done.returncode, "save it to a file, then sh install.sh --help" in done.stderr) == (0, True), done.stderr


@pytest.mark.parametrize(("arguments", "status"), [((), 20), (("--dmeo",), 2), (("--from",), 2), (("--purge",), 2)])
def test_wrong_use_names_the_remedy(checkout: Checkout, arguments: tuple[str, ...], status: int) -> None:
    done = checkout.run(*arguments)
    assert done.returncode == status
    assert "what to do: " in done.stderr
    assert "./install.sh --" in done.stderr


def test_no_python_names_the_package(checkout: Checkout) -> None:
    done = checkout.run("--demo")
    assert done.returncode == 11
    assert "error E11: " in done.stderr
    assert "apt-get install python3" in done.stderr


def test_unfit_python_is_not_taken(with_python: Checkout) -> None:
    done = with_python.run("--demo", FAKE_UNFIT="1")
    assert done.returncode == 11
    assert "Python 3.12.0" in done.stderr, "what was found is said"


def test_unfit_choice_of_the_user_is_refused(with_python: Checkout) -> None:
    done = with_python.run("--demo", AMDA_PYTHON="/nowhere/python3")
    assert done.returncode == 11
    assert "AMDA_PYTHON" in done.stderr


def test_demo_makes_the_environment_and_passes_its_arguments_on(with_python: Checkout) -> None:
    done = with_python.run("--demo", "--no-tui", "--sessions", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{with_python.folder}/.venv/bin/amda demo --no-tui --sessions 3\n"
    installed = next(call for call in with_python.calls if "--requirement" in call)
    assert "--require-hashes" in installed
    assert "--only-binary :all:" in installed


def test_second_run_installs_nothing(with_python: Checkout) -> None:
    assert with_python.run("--demo").returncode == 0
    before = len(with_python.calls)
    assert with_python.run("--demo").returncode == 0
    assert [call for call in with_python.calls[before:] if call != "python --version"] == []


def test_changed_lock_is_installed_in_place(with_python: Checkout) -> None:
    assert with_python.run("--demo").returncode == 0
    (with_python.folder / "requirements.lock").open("a").write("# a newer version\n")
    before = len(with_python.calls)
    assert with_python.run("--demo").returncode == 0
    calls = with_python.calls[before:]
    assert any("--requirement" in call for call in calls)
    assert not any("-m venv" in call for call in calls)


def test_moved_checkout_gets_a_new_environment(with_python: Checkout, tmp_path: Path) -> None:
    assert with_python.run("--demo").returncode == 0
    with_python.folder = with_python.folder.rename(tmp_path / "moved")
    before = len(with_python.calls)
    assert with_python.run("--demo").returncode == 0
    assert any("-m venv" in call for call in with_python.calls[before:])


@pytest.mark.parametrize(
    ("complaint", "status"),
    [
        ("Failed to resolve: NameResolutionError(…)", 14),
        ("SSLError: CERTIFICATE_VERIFY_FAILED", 15),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", 16),
        ("OSError: [Errno 28] No space left on device", 17),
        ("ERROR: No matching distribution found for aiohttp==1.0", 18),
    ],
)
def test_failure_of_pip_is_told_apart_and_the_next_run_completes(
    with_python: Checkout, complaint: str, status: int
) -> None:
    done = with_python.run("--demo", FAKE_PIP_ERROR=complaint)
    assert done.returncode == status
    assert f"error E{status}: " in done.stderr
    assert complaint in done.stderr
    assert done.stdout == "", "the demo was not started"
    assert with_python.run("--demo").returncode == 0


def test_missing_standard_library_names_the_package(with_python: Checkout) -> None:
    done = with_python.run("--demo", FAKE_VENV_ERROR="No module named venv")
    assert done.returncode == 12
    assert "python3-venv" in done.stderr


def test_damaged_pip_is_not_run(with_python: Checkout) -> None:
    wheel = next((with_python.folder / "provisioning" / "pip").glob("*.whl"))
    wheel.write_bytes(wheel.read_bytes()[:-1])
    done = with_python.run("--demo")
    assert done.returncode == 16
    assert not any("-m pip" in call for call in with_python.calls)


def test_truncated_script_does_nothing(with_python: Checkout) -> None:
    """The whole body is one group, so a copy that ends early is a syntax error: at every line and every late byte."""
    whole = (ROOT / "install.sh").read_bytes()
    body = whole.index(b"\n{\n")
    ends = {index for index in range(body + 3, len(whole)) if whole[index : index + 1] == b"\n"}
    ends |= set(range(len(whole) - 40, len(whole) - 2))
    script = with_python.folder / "install.sh"
    for end in sorted(ends - {len(whole) - 1}):
        script.write_bytes(whole[:end])
        assert with_python.run("--demo").returncode != 0
    assert with_python.calls == []


def test_development_lock_holds_the_other_one() -> None:
    """venv.sh takes an environment of the development lock for one of the other: it must be its superset."""

    def pins(name: str) -> set[str]:
        return {line for line in (ROOT / name).read_text().splitlines() if "==" in line and not line.startswith(" ")}

    assert pins("requirements.lock") <= pins("requirements-dev.lock")
