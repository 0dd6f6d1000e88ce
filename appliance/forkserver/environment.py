"""Variables that the engine reads once, when the process is executed: Go and glibc do not look at later changes.

They decide a third of a worker's memory. Each was measured on one linked, idle worker (private memory; neonize 0.5.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from appliance.certificates import CERTIFICATE_FILE, CERTIFICATE_FOLDER, NO_FOLDER, system_bundle

ENGINE_ENVIRONMENT: Final[Mapping[str, str]] = {
    "GOMEMLIMIT": "20MiB",  # Go collects more eagerly above it; an idle worker stays below
    "GOGC": "20",  # a fifth of the garbage between collections: 5 MiB less after traffic for 0.9 ms more CPU a message
    "GOMAXPROCS": "1",  # sixty workers share the cores anyway; caches and threads for each core cost 0.4 MiB
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",  # each thread would keep freed memory for itself: 0.1 MiB
    "MALLOC_ARENA_MAX": "1",  # glibc would make eight per core, each keeping what it once had
    "MALLOC_MMAP_THRESHOLD_": "131072",  # a picture's buffer goes back to the kernel when freed …
    "MALLOC_TRIM_THRESHOLD_": "131072",  # … and so does the heap's end: 200 MiB less after large media
    "NEONIZE_BOT_TAG": "off",  # otherwise messages to a phone number carry a mark of being from a bot
}
"""What a variable already set says is kept: an operator's choice."""


def missing_from(environment: Mapping[str, str], bundle: Path | None = None) -> dict[str, str]:
    """What must be added before this process is executed once more; empty if nothing.

    `bundle`: the file of the machine's certificate authorities, looked for if not given. Where there is one, Go is kept
    from reading each authority a second time from a folder of single files: 2.4 MiB for each worker, for nothing.
    """
    wanted = dict(ENGINE_ENVIRONMENT)
    if environment.get(CERTIFICATE_FILE) or bundle or system_bundle():
        wanted[CERTIFICATE_FOLDER] = NO_FOLDER
    return {name: value for name, value in wanted.items() if name not in environment}
