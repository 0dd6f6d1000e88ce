"""Which client is at the other end of a socket, before it has said so: found in /proc by what its process has open.

Faults of dialling can so be made for one account, although a dial does not name one. A client is known by the database
files that its process has open, which stay the same when the process is replaced, or else by its process id.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_LOOPBACK: Final = "0100007F"
"""127.0.0.1 as /proc/net/tcp writes it (proc(5)) on little-endian machines; the engine is built for no other."""
_STORE_SUFFIX: Final = ".db"


def client_keys(client_port: int, server_port: int) -> frozenset[str]:
    """What identifies the process behind a loopback connection; empty if it is gone or belongs to another user.

    Reads all of the user's file descriptors: some 10 ms on a machine with two hundred processes.
    """
    inode = _inode(client_port, server_port)
    if inode is None:
        return frozenset()
    wanted = f"socket:[{inode}]"
    for process in _PROC.iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            opened = list(_open_files(process))
            if wanted in opened:
                stores = frozenset(path for path in opened if path.endswith(_STORE_SUFFIX))
                return stores or frozenset({f"pid {process.name}"})
    return frozenset()


def _inode(client_port: int, server_port: int) -> str | None:
    ends = (f"{_LOOPBACK}:{client_port:04X}", f"{_LOOPBACK}:{server_port:04X}")
    for line in (_PROC / "net" / "tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if (fields[1], fields[2]) == ends:
            return fields[9]
    return None


def _open_files(process: Path) -> Iterator[str]:
    try:
        for entry in os.scandir(process / "fd"):
            yield os.readlink(entry.path)  # noqa: PTH115 - a socket's link is no path
    except OSError:
        return  # it has ended, or is somebody else's
