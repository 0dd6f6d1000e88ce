"""Workers share the tables that the loader fills in when they open the engine's library.

Opening it writes addresses into 2.3 MiB of its read-only tables: private memory in each of sixty workers, and the same
in all, because they are forked from one process and so get the library at the same address. The first worker lays
a copy into memory that nobody can change afterwards (a sealed memfd); each other one compares every byte, and only then
puts that in the place of its own pages. Android's linker shares its tables likewise (`android_dlopen_ext`, RELRO).

Nothing rests on trust: what is not sealed, or differs in one byte (another library, another address), is left alone and
costs memory only. Go's threads may read meanwhile: the kernel exchanges a mapping in one step.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PT_GNU_RELRO: Final = 0x6474E552
_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER: Final = struct.Struct("<IIQQQQQQ")
"""ELF64, little-endian (elf(5)), as on every machine that the engine is built for."""
_ELF_64_LITTLE: Final = b"\x7fELF\x02\x01"
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_PAGE: Final = mmap.PAGESIZE
_MAP_FIXED: Final = 0x10

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


class SharedTables:
    """The copy, named by a descriptor that workers inherit from the fork server."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def share(self, library: Path) -> bool:
        """Exchange this process's tables of the opened `library` for the copy, and give up the descriptor.

        Whether they are shared now. Raises OSError, ValueError if the library's tables cannot be found.
        """
        try:
            start, size = _tables(library)
            with _locked(self.fd):
                if not self._sealed:
                    self._lay_down(start, size)
            return self._put_in_place(start, size)
        finally:
            os.close(self.fd)

    @property
    def _sealed(self) -> bool:
        return fcntl.fcntl(self.fd, fcntl.F_GET_SEALS) == _SEALS

    def _lay_down(self, start: int, size: int) -> None:
        """Also over what a worker left behind that was killed here."""
        os.ftruncate(self.fd, 0)
        content = memoryview((ctypes.c_char * size).from_address(start)).cast("B")
        written = 0
        while written < size:
            written += os.pwrite(self.fd, content[written:], written)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)

    def _put_in_place(self, start: int, size: int) -> bool:
        if os.fstat(self.fd).st_size != size:
            return False
        seen = _map(None, size, mmap.MAP_SHARED, self.fd)
        try:
            if _libc.memcmp(seen, start, size) != 0:
                return False
        finally:
            _libc.munmap(ctypes.c_void_p(seen), ctypes.c_size_t(size))
        _map(start, size, mmap.MAP_PRIVATE | _MAP_FIXED, self.fd)
        return True


def create() -> SharedTables:
    """Empty; for the fork server, before it forks. Raises OSError."""
    return SharedTables(os.memfd_create("amda-relocations", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))


@contextlib.contextmanager
def _locked(fd: int) -> Iterator[None]:
    """Two workers that start at the same moment: POSIX locks, because both have inherited one open file."""
    fcntl.lockf(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(fd, fcntl.LOCK_UN)


def _map(start: int | None, size: int, flags: int, fd: int) -> int:
    address: int = _libc.mmap(start, size, mmap.PROT_READ, flags, fd, 0)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), f"mmap: {os.strerror(ctypes.get_errno())}")
    return address


def _tables(library: Path) -> tuple[int, int]:
    """Where the tables that are read-only after relocation lie in this process: first address and size, whole pages.

    Raises ValueError if the library has none or is not open here.
    """
    with library.open("rb") as file:
        identity = os.fstat(file.fileno())
        header = _HEADER.unpack(file.read(_HEADER.size))
        if not header[0].startswith(_ELF_64_LITTLE):
            raise ValueError(f"{library.name} is no 64-bit little-endian ELF file")
        offset, entry_size, count = header[5], header[9], header[10]
        for number in range(count):
            file.seek(offset + number * entry_size)
            kind, _, _, address, _, _, length, _ = _PROGRAM_HEADER.unpack(file.read(_PROGRAM_HEADER.size))
            if kind == _PT_GNU_RELRO:
                base = _base(identity)
                start, end = address // _PAGE * _PAGE, (address + length) // _PAGE * _PAGE
                return base + start, end - start
    raise ValueError(f"{library.name} has no tables that are read-only after relocation")


def _base(identity: os.stat_result) -> int:
    """Address of the first byte of this file in this process."""
    for line in Path("/proc/self/maps").read_text("utf-8", "surrogateescape").splitlines():
        span, _, offset, _, inode, *_ = line.split(maxsplit=5)
        if int(inode) == identity.st_ino and int(offset, 16) == 0:
            return int(span.partition("-")[0], 16)
    raise ValueError("the library is not open in this process")
