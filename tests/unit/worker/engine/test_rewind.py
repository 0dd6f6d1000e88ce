"""A killed process's last commits are taken back exactly when its mark says so. The kill is real: a child process."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.worker.engine.rewind import MARK, DecryptionMark, LogPosition, Rewound, read_position

CHILD = """
import os, signal, sqlite3, sys
from pathlib import Path
from appliance.worker.engine.rewind import DecryptionMark
path = Path(sys.argv[1])
mark = DecryptionMark(path)
assert mark.rewind().value == "nothing"
mark.open()
db = sqlite3.connect(path, isolation_level=None)
db.execute("PRAGMA journal_mode=WAL")
db.execute("PRAGMA synchronous=NORMAL")
db.execute("CREATE TABLE IF NOT EXISTS t (x)")
def put(x):
    db.execute("INSERT INTO t VALUES (?)", (x,))
{body}
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_after(path: Path, body: str) -> None:
    child = subprocess.run([sys.executable, "-c", CHILD.format(body=body), str(path)], check=False)
    assert child.returncode == -signal.SIGKILL


def content(path: Path) -> list[int]:
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row[0] for row in db.execute("SELECT x FROM t ORDER BY rowid")]
    finally:
        db.close()


def test_what_was_committed_after_the_mark_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "device.db"
    killed_after(path, "put(1); mark.arm(); put(2); put(3)")
    assert DecryptionMark(path).rewind() is Rewound.DONE
    assert content(path) == [1]
    assert DecryptionMark(path).rewind() is Rewound.NOTHING


def test_what_was_recorded_stays(tmp_path: Path) -> None:
    path = tmp_path / "device.db"
    killed_after(path, "put(1); mark.arm(); put(2); mark.disarm(); put(3)")
    assert DecryptionMark(path).rewind() is Rewound.NOTHING
    assert content(path) == [1, 2, 3]


def test_mark_without_a_commit_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "device.db"
    killed_after(path, "put(1); mark.arm()")
    DecryptionMark(path).rewind()
    assert content(path) == [1]


def test_log_that_was_copied_into_the_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "device.db"
    killed_after(path, "put(1); mark.arm(); put(2); db.execute('PRAGMA wal_checkpoint(PASSIVE)'); put(3)")
    assert DecryptionMark(path).rewind() is Rewound.IMPOSSIBLE
    assert content(path) == [1, 2, 3]


def test_log_that_started_over_at_the_decryption_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "device.db"
    killed_after(path, "put(1); db.execute('PRAGMA wal_checkpoint(PASSIVE)'); mark.arm(); put(2)")
    assert DecryptionMark(path).rewind() is Rewound.DONE
    assert content(path) == [1]


def test_forgotten_mark_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "device.db"
    killed_after(path, "put(1); mark.arm(); put(2)")
    monkeypatch.setattr("appliance.worker.engine.rewind.STALE_S", -1.0)
    assert DecryptionMark(path).rewind() is Rewound.NOTHING
    assert content(path) == [1, 2]


def test_mark_of_another_boot_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "device.db"
    killed_after(path, "put(1); mark.arm(); put(2)")
    other = tmp_path / "boot_id"
    other.write_text("00000000-0000-4000-8000-000000000000\n")
    monkeypatch.setattr("appliance.worker.engine.rewind._BOOT_ID", other)
    assert DecryptionMark(path).rewind() is Rewound.NOTHING
    assert content(path) == [1, 2]


def test_broken_mark_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "device.db"
    killed_after(path, "put(1); mark.arm(); put(2)")
    (tmp_path / MARK).write_bytes(b"\1short")
    assert DecryptionMark(path).rewind() is Rewound.NOTHING
    assert content(path) == [1, 2]


def test_position_that_is_being_changed_is_not_read() -> None:
    header = bytes(range(48))
    assert read_position(header + bytes([0, *header[1:]])[:0] + header[::-1] + bytes(36)) is None
    assert read_position(b"") is None
    header = bytearray(48)
    header[12] = 1
    header[16:20] = (7).to_bytes(4, sys.byteorder)
    header[32:36] = (9).to_bytes(4, "big")
    checkpoint = bytes(32) + (3).to_bytes(4, sys.byteorder)
    assert read_position(bytes(header) * 2 + checkpoint) == LogPosition(frames=7, salt=9, attempted=3)
