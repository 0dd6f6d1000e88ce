"""Variables that the engine reads once, when the process is executed: Go and glibc do not look at later changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ENGINE_ENVIRONMENT: Final[Mapping[str, str]] = {
    "GOMEMLIMIT": "20MiB",  # Go collects more eagerly above it; an idle worker stays below
    "MALLOC_ARENA_MAX": "2",  # glibc would make eight per core, each keeping what it once had
    "MALLOC_MMAP_THRESHOLD_": "131072",  # a picture's buffer goes back to the kernel when freed …
    "MALLOC_TRIM_THRESHOLD_": "131072",  # … and so does the heap's end: 200 MiB less after large media
    "NEONIZE_BOT_TAG": "off",  # otherwise messages to a phone number carry a mark of being from a bot
}
"""What a variable already set says is kept: an operator's choice."""


def missing_from(environment: Mapping[str, str]) -> dict[str, str]:
    """What must be added before this process is executed once more; empty if nothing."""
    return {name: value for name, value in ENGINE_ENVIRONMENT.items() if name not in environment}
