"""What the appliance uses of its machine: bodies of /v1/system. Bytes, seconds, seconds since the epoch (UTC)."""

from __future__ import annotations

import enum

import msgspec


class MemoryKind(enum.StrEnum):
    """How memory was measured; they are not to be added up without saying so."""

    PSS = "pss"
    """Shared pages divided among those who share them."""
    RSS = "rss"
    """Shared pages counted in full: what is told of a process that belongs to somebody else."""
    GROUP = "group"
    """Everything of a systemd unit, its part of the page cache included."""


class PartUse(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the appliance; what is not known, because it is elsewhere or hidden from the daemon, is None."""

    name: str
    """daemon, forkserver, workers, redis, minio, proxy."""
    processes: int
    pid: int | None = None
    """Of a single process."""
    memory_bytes: int | None = None
    memory_kind: MemoryKind = MemoryKind.PSS
    largest_bytes: int | None = None
    """Of several processes: the one with the most."""
    cpu_s: float | None = None
    """CPU time since its start; the difference of two answers divided by their distance is the share of a core."""
    started_at: float | None = None


class MachineUse(msgspec.Struct, frozen=True, kw_only=True):
    cores: int
    load: float
    """Processes that ran or wanted to, mean of the last minute."""
    memory_bytes: int
    memory_available_bytes: int
    swap_bytes: int
    swap_used_bytes: int
    disk_bytes: int
    """Of the disk that the state folder lies on."""
    disk_free_bytes: int
    started_at: float


class RedisUse(msgspec.Struct, frozen=True, kw_only=True):
    """`trouble`: why it cannot be used; then nothing else is known."""

    trouble: str = ""
    version: str = ""
    answer_s: float | None = None
    """Of one question and its answer."""
    memory_bytes: int = 0
    clients: int = 0
    durable: bool = False
    """Whether it writes down what it is told (append-only file), and the last write succeeded."""


class StoreUse(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    """folder or s3."""
    place: str
    """Its folder, or the server and the bucket."""
    used_bytes: int
    quota_bytes: int
    trouble: str = ""


class SpoolUse(msgspec.Struct, frozen=True, kw_only=True):
    """What was captured and waits to be stored."""

    items: int
    size: int
    oldest_s: float
    set_aside: int
    """Items that could not be stored and wait for somebody."""


class EngineUse(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    sessions: int
    """That run it."""


class SystemView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment, `at`."""

    at: float
    release: str
    python: str
    started_at: float
    """Of the daemon."""
    machine: MachineUse
    parts: list[PartUse]
    redis: RedisUse
    store: StoreUse
    spool: SpoolUse
    engines: list[EngineUse]
    whatsapp: str
    """The version of WhatsApp that the engine says it is; empty: not known."""
