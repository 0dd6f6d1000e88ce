"""A sandboxed process really tries to reach what it must not, and what it must."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.protocol import WorkerMode, WorkerSpec
from appliance.worker import sandbox

pytestmark = pytest.mark.skipif(
    ctypes.CDLL(None).syscall(444, None, 0, 1) < 1, reason="this kernel has no Landlock; the worker's hello says so"
)
WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--")
"""The user stays, and has no capability any more: what a service account has."""

PRELUDE = """
import ctypes, json, os, resource, signal, socket, sqlite3, sys
from pathlib import Path
import msgspec
from appliance.protocol import WorkerSpec
from appliance.sockets import bind_unix
from appliance.worker import sandbox
spec = msgspec.json.decode(sys.argv[1], type=WorkerSpec)
parent = os.getppid()
out = {"result": sandbox.apply(spec)}
def attempt(name, call):
    try:
        value = call()
        out[name] = value if isinstance(value, str | int | list) else "done"
    except OSError as error:
        out[name] = type(error).__name__
"""


@pytest.fixture
def state() -> Iterator[Path]:
    """Two sessions, a database and media, as in a running appliance."""
    folder = Path(tempfile.mkdtemp(prefix="amda-sandbox-"))
    for name in ("sessions/a/s1", "sessions/b/s1", "media/view-once"):
        (folder / name).mkdir(parents=True)
    for name in ("amda.db", "sessions/b/s1/device.db", "media/view-once/x.jpg"):
        (folder / name).write_text("secret")
    yield folder
    shutil.rmtree(folder)


def spec_for(state: Path, **changes: Any) -> WorkerSpec:
    engine = importlib.util.find_spec("neonize")
    assert engine
    assert engine.origin
    library = next(Path(engine.origin).parent.glob("neonize-linux-*.so"))
    return msgspec.structs.replace(
        WorkerSpec(
            session="a",
            generation=1,
            mode=WorkerMode.RUN,
            session_folder=str(state / "sessions/a"),
            store_folder=str(state / "sessions/a/s1"),
            engine_library=str(library),
        ),
        **changes,
    )


def run(spec: WorkerSpec, code: str, prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    argument = msgspec.json.encode(spec).decode()
    result = subprocess.run(
        [*prefix, sys.executable, "-c", PRELUDE + code + "\nprint(json.dumps(out))", argument],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    answers: dict[str, Any] = json.loads(result.stdout)
    return answers


FILES = """
state = Path(spec.session_folder).parent.parent
attempt("database", lambda: (state / "amda.db").read_text())
attempt("neighbour", lambda: (state / "sessions/b/s1/device.db").read_text())
attempt("media", lambda: (state / "media/view-once/x.jpg").read_text())
attempt("list sessions", lambda: os.listdir(state / "sessions"))
attempt("list neighbour", lambda: os.listdir(state / "sessions/b"))
attempt("write neighbour", lambda: (state / "sessions/b/s1/new").write_text("x"))
attempt("truncate neighbour", lambda: os.truncate(state / "sessions/b/s1/device.db", 0))
attempt("delete neighbour", lambda: (state / "sessions/b/s1/device.db").unlink())
attempt("write database", lambda: open(state / "amda.db", "a"))
attempt("move out", lambda: (Path("x").write_text("x"), Path("x").rename(state / "x")))
attempt("link in", lambda: os.link(state / "amda.db", "amda.db"))
attempt("symbolic link", lambda: os.symlink(state / "amda.db", "link"))
attempt("device", lambda: os.mkfifo("pipe"))
attempt("home", lambda: os.listdir("/root" if os.getuid() == 0 else "/home"))
attempt("shadow", lambda: Path("/etc/shadow").read_text())
attempt("tmp", lambda: Path("/tmp/amda-sandbox-probe").write_text("x"))
attempt("program", lambda: (Path("p").write_text("#!/bin/sh"), os.chmod("p", 0o700), os.execv("./p", ["./p"])))
attempt("signal", lambda: os.kill(parent, 0))
attempt("memory", lambda: os.listdir(f"/proc/{parent}/fd"))
"""
WORKS = """
attempt("write", lambda: Path("own").write_text("mine"))
attempt("read", lambda: Path("own").read_text())
attempt("rename", lambda: (Path("spool").mkdir(), Path("own").rename("spool/own")))
attempt("truncate", lambda: os.truncate("spool/own", 1))
attempt("delete", lambda: Path("spool/own").unlink())
def database():
    with sqlite3.connect("capture.db") as db:
        db.execute("pragma journal_mode=wal")
        db.execute("create table t (x)")
        db.execute("insert into t values (1)")
        return db.execute("select count(*) from t").fetchone()[0]
attempt("database", database)
def unix():
    with bind_unix(Path(spec.store_folder) / "control.sock"):
        return "bound"
attempt("socket", unix)
attempt("resolver", lambda: socket.getaddrinfo("localhost", 80)[0][4][0])
attempt("certificates", lambda: len(Path("/etc/ssl/certs").resolve().as_posix()) and "read")
attempt("null", lambda: Path("/dev/null").write_text("x"))
attempt("random", lambda: len(os.urandom(8)))
attempt("pss", lambda: "Pss:" in Path("/proc/self/smaps_rollup").read_text() and "read")
attempt("import", lambda: __import__("wave").__name__)
import tempfile
attempt("temporary", lambda: tempfile.mkdtemp().startswith(spec.store_folder) and "inside")
attempt("mode", lambda: oct(Path("capture.db").stat().st_mode & 0o077))
attempt("engine", lambda: ctypes.CDLL(spec.engine_library) and "loaded")
out["after engine"] = len(os.listdir("/proc/self/task")) > 1 and "threads"
attempt("core", lambda: resource.getrlimit(resource.RLIMIT_CORE)[1])
attempt("oom", lambda: Path("/proc/self/oom_score_adj").read_text().strip())
attempt("no_new_privs", lambda: "NoNewPrivs:\\t1" in Path("/proc/self/status").read_text() and "set")
"""


@pytest.fixture(params=["as started", "without privilege"])
def prefix(request: pytest.FixtureRequest) -> tuple[str, ...]:
    if request.param == "as started":
        return ()
    if os.geteuid() != 0:
        pytest.skip("the other run is without privilege already")
    if not shutil.which(WITHOUT_PRIVILEGE[0]):
        pytest.skip("setpriv is not installed")
    return WITHOUT_PRIVILEGE


def test_what_must_fail_fails(state: Path, prefix: tuple[str, ...]) -> None:
    answers = run(spec_for(state), FILES, prefix)
    result = answers.pop("result")
    assert result == sandbox.FULL or "Linux" in result
    if "6.12" in result:
        answers.pop("signal")
    if "6.2" in result:
        answers.pop("truncate neighbour")
    may_differ = {"link in", "move out"}  # EXDEV or EACCES, by whether the rest of the step is forbidden too
    assert {name: a for name, a in answers.items() if a != "PermissionError" and name not in may_differ} == {}
    for name in may_differ:
        assert answers[name] in ("PermissionError", "OSError")
    assert (state / "sessions/b/s1/device.db").read_text() == "secret"
    assert not (state / "x").exists()


def test_what_must_work_works(state: Path, prefix: tuple[str, ...]) -> None:
    answers = run(spec_for(state), WORKS, prefix)
    answers.pop("result")
    assert answers.pop("resolver") in ("127.0.0.1", "::1")
    assert answers == {
        "write": 4,
        "read": "mine",
        "rename": "done",
        "truncate": "done",
        "delete": "done",
        "database": 1,
        "socket": "bound",
        "certificates": "read",
        "null": 1,
        "random": 8,
        "pss": "read",
        "import": "wave",
        "temporary": "inside",
        "mode": "0o0",
        "engine": "loaded",
        "after engine": "threads",
        "core": 0,
        "oom": "500",
        "no_new_privs": "set",
    }


def test_further_readable_paths(state: Path) -> None:
    (state / "staging").mkdir()
    (state / "staging/ca.pem").write_text("ca")
    code = "attempt('ca', lambda: Path(spec.readable[0], 'ca.pem').read_text())\n"
    code += "attempt('write', lambda: Path(spec.readable[0], 'ca.pem').write_text('x'))"
    answers = run(spec_for(state, readable=(str(state / "staging"),)), code)
    assert (answers["ca"], answers["write"]) == ("ca", "PermissionError")


def test_a_rule_that_opens_the_neighbours_is_told(state: Path) -> None:
    answers = run(spec_for(state, readable=(str(state),)), "")
    assert "other sessions can be read" in answers["result"]


def refusal(spec: WorkerSpec, before: str = "") -> str:
    code = PRELUDE.replace("parent = os.getppid()", before)
    argument = msgspec.json.encode(spec).decode()
    result = subprocess.run(
        [sys.executable, "-c", code, argument], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    return result.stderr.splitlines()[-1]


def test_refusals(state: Path) -> None:
    threads = "import threading; threading.Thread(target=signal.pause, daemon=True).start()"
    assert "before any thread" in refusal(spec_for(state), threads)
    assert "existing folder" in refusal(spec_for(state, session_folder=str(state / "missing")))
    assert "existing folder" in refusal(spec_for(state, store_folder="relative"))
    assert "does not lie in" in refusal(spec_for(state, store_folder=str(state / "sessions/b/s1")))


SEALED = """
import asyncio, threading
listener = bind_unix(Path(spec.store_folder) / "control.sock")
client = socket.socket(socket.AF_UNIX)
client.connect("control.sock")
attempt("engine", lambda: ctypes.CDLL(spec.engine_library) and "loaded")
go, done = threading.Event(), threading.Event()
def older():
    go.wait()
    attempt("older thread", lambda: socket.socket(socket.AF_UNIX))
    done.set()
threading.Thread(target=older, daemon=True).start()
out["sealed"] = sandbox.seal(out["result"])
go.set()
done.wait()
attempt("unix", lambda: socket.socket(socket.AF_UNIX))
attempt("datagram", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
attempt("accept", lambda: listener.accept()[0].close())
attempt("internet", lambda: socket.socket(socket.AF_INET).close())
attempt("resolver", lambda: socket.getaddrinfo("localhost", 80)[0][4][0])
attempt("event loop", lambda: asyncio.run(asyncio.sleep(0)))
def io_uring():
    if ctypes.CDLL(None, use_errno=True).syscall(425, 1, ctypes.create_string_buffer(120)) < 0:
        raise OSError(ctypes.get_errno(), "io_uring")
attempt("io_uring", io_uring)
newer = threading.Thread(target=lambda: attempt("newer thread", lambda: socket.socket(socket.AF_UNIX)))
newer.start()
newer.join()
"""


def test_once_sealed_no_other_socket_of_the_appliance_can_be_reached(state: Path, prefix: tuple[str, ...]) -> None:
    answers = run(spec_for(state), SEALED, prefix)
    assert answers.pop("sealed") == answers.pop("result")
    assert answers.pop("resolver") in ("127.0.0.1", "::1")
    assert answers == {
        "engine": "loaded",
        "older thread": "PermissionError",
        "unix": "PermissionError",
        "datagram": "PermissionError",
        "accept": "done",
        "internet": "done",
        "event loop": "done",
        "io_uring": "OSError",
        "newer thread": "PermissionError",
    }
