"""Makes what the fork server holds worth sharing: workers copy a page as soon as they write to it.

CPython puts a small object into the next free block of its size, wherever that lies. After a start the free blocks are
strewn over the pages of what was loaded, and each worker's first objects would tear hundreds of these pages from the
shared ones (1 MiB each, CPython 3.11). So the holes are filled once, here, and workers begin on pages of their own.

CPython also remembers 4,096 lookups of attributes, each with a reference to the name. A start fills them with names
that no worker asks for; a worker's own lookups would push these out, and so tear the page of each such name (0.3 MiB
in all). So the fork server forgets them first.

What cannot be had: CPython counts references inside the objects, so a worker still copies the pages of what it uses.
Running its first steps here beforehand was tried, and changes next to nothing.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Final

SIZE_STEP: Final = 16
SIZE_LIMIT: Final = 512
"""CPython's allocator of small objects keeps blocks of each multiple of 16 bytes up to 512 (Objects/obmalloc.c)."""
_POOL_MASK: Final = (1 << 14) - 1
_POOL_HEADER: Final = 48
"""Blocks of one size share a pool of 16 KiB; the first block lies behind its header."""
MAX_FILLED_BYTES: Final = 1 << 18
"""Of each size: a start leaves 0.3 MiB of holes in all. A fresh pool is not always recognised, and never with another
allocator; then this much is taken, once and shared by all."""


def freeze() -> int:
    """Fill the holes and take everything that exists out of garbage collection; for the last moment before serving.

    Nothing is collected before: that would only make new holes. Returns the number of bytes that filled holes.
    """
    ctypes.pythonapi.PyType_ClearCache()  # before the holes are filled: it makes some
    filled = sum(_fill(size) for size in range(SIZE_STEP, SIZE_LIMIT + 1, SIZE_STEP))
    gc.freeze()
    return filled


def _fill(size: int) -> int:
    """Take blocks of one size until the next comes from a pool that held none; the bytes that were taken for good."""
    allocate, release = ctypes.pythonapi.PyObject_Malloc, ctypes.pythonapi.PyObject_Free
    allocate.argtypes, allocate.restype = [ctypes.c_size_t], ctypes.c_void_p
    release.argtypes, release.restype = [ctypes.c_void_p], None
    for filled in range(0, MAX_FILLED_BYTES, size):
        block = allocate(size)
        if block is None:
            return filled
        if block & _POOL_MASK == _POOL_HEADER:
            release(block)
            return filled
    return MAX_FILLED_BYTES
