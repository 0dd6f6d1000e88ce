"""Import hygiene: what a process loads is what sixty workers pay for, and what every `amda` command waits for.

Each check runs in a fresh interpreter and looks at `sys.modules`, because this one has long loaded everything.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path for package in ("appliance", "tui") for path in (ROOT / package).rglob("*.py"))

NEVER_IN_A_WORKER = ("PIL", "minio", "textual", "aiohttp", "redis", "typer", "rich", "aiosqlite", "requests", "httpx")
"""Each costs megabytes, sixty times over, and a worker has no use for it."""
NEVER_BEFORE_A_FORK = (*NEVER_IN_A_WORKER, "neonize")
"""A child forked after the engine's library was opened hangs silently; importing neonize opens it."""
NEVER_FOR_HELP = ("aiohttp", "neonize", "textual", "PIL", "redis", "cryptography", "nacl")
"""`amda --help` answers at once; what only some commands need is loaded by those."""

MAX_LINES = 400
"""A module that is longer does more than one thing. Blank lines are free."""


def loaded_after(statement: str) -> set[str]:
    """The top-level names in `sys.modules` after one statement in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}


def modules_of(package: str) -> list[str]:
    """Dotted names of a package's modules, without the ones that run something when imported."""
    folder = ROOT / package.replace(".", "/")
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(folder.rglob("*.py"))
        if path.name != "__main__.py"
    ]


@pytest.mark.slow
def test_sees_what_an_import_brings() -> None:
    """The probe itself must be able to fail: a module that imports aiohttp shows it."""
    assert "aiohttp" in loaded_after("import aiohttp")
    assert "aiohttp" not in loaded_after("import appliance.model")
    modules = ["appliance.model", "appliance.api.http"]
    assert first_to_bring(("aiohttp",), modules) == {"aiohttp": "appliance.api.http"}


def first_to_bring(names: tuple[str, ...], modules: list[str]) -> dict[str, str]:
    """Which of `names` get loaded when `modules` are imported one after the other, and which module brought each."""
    program = (
        "import importlib, json, sys\n"
        "names, modules = json.loads(sys.argv[1])\n"
        "brought = {}\n"
        "for module in modules:\n"
        "    importlib.import_module(module)\n"
        "    for name in names:\n"
        "        if name in sys.modules: brought.setdefault(name, module)\n"
        "print(json.dumps(brought))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps([names, modules])],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    brought: dict[str, str] = json.loads(done.stdout)
    return brought


def test_worker_loads_nothing_heavy() -> None:
    modules = modules_of("appliance.worker")
    assert "appliance.worker.engine.adapter" in modules
    assert first_to_bring(NEVER_IN_A_WORKER, modules) == {}


def test_fork_server_loads_neither_heavy_modules_nor_the_engine() -> None:
    modules = modules_of("appliance.forkserver")
    assert "appliance.forkserver.server" in modules
    assert first_to_bring(NEVER_BEFORE_A_FORK, modules) == {}


def test_forks_start_from_everything_but_the_engine_library() -> None:
    """What the fork server really preloads: all of the worker, one thread, and no library of the engine mapped."""
    names = loaded_after(
        "from appliance.forkserver.__main__ import load_worker\n"
        "load_worker()\n"
        "import threading\n"
        "from pathlib import Path\n"
        "assert threading.active_count() == 1\n"
        "assert len(list(Path('/proc/self/task').iterdir())) == 1\n"
        "assert 'neonize-linux' not in Path('/proc/self/maps').read_text()\n"
    )
    assert "neonize" in names, "its protobuf classes are shared by all workers"
    assert not names & set(NEVER_IN_A_WORKER)


@pytest.mark.parametrize("module", ["appliance.model", "appliance.protocol", "appliance.client"])
def test_contracts_are_light(module: str) -> None:
    assert not loaded_after(f"import {module}") & {"neonize", "textual", "PIL", "redis", "aiohttp", "aiosqlite"}


def test_help_loads_nothing_that_only_some_commands_need() -> None:
    statement = (
        "import sys\n"
        "sys.argv = ['amda', '--help']\n"
        "from appliance.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code"
    )
    assert not loaded_after(statement) & set(NEVER_FOR_HELP)


def test_every_module_with_code_says_why_it_exists() -> None:
    begin = {path.relative_to(ROOT): re.sub(r"\A(?:\s*#.*\n)*\s*", "", path.read_text()) for path in MODULES}
    assert [str(path) for path, text in begin.items() if text and not text.startswith(('"""', 'r"""'))] == []


def test_modules_are_small() -> None:
    lines = {path: sum(1 for line in path.read_text().splitlines() if line.strip()) for path in MODULES}
    assert {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > MAX_LINES} == {}
