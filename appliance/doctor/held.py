"""Names that stay with the file that was looked at, for repairs that root makes in folders of another user."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def held(path: Path) -> Iterator[str]:
    """A name for exactly this file or folder, whatever becomes of the path meanwhile: whoever owns the folders on the
    way could put a link there, and have root work elsewhere. `path` is one without links.

    Raises OSError if a link, or a file with several names, is there now.
    """
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        name = f"/proc/self/fd/{fd}"
        state = os.fstat(fd)
        linked = stat.S_ISLNK(state.st_mode) or (stat.S_ISREG(state.st_mode) and state.st_nlink > 1)
        if linked or Path(name).readlink() != path:
            raise OSError(errno.ELOOP, "a link has been put there; look at it yourself", str(path))
        yield name
    finally:
        os.close(fd)


def unlink(path: Path) -> None:
    """Remove a file, if it is there; only from the folder that the path names. Raises OSError."""
    with held(path.parent) as folder, contextlib.suppress(FileNotFoundError):
        Path(folder, path.name).unlink()
