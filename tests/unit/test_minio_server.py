"""Places for a MinIO server of rehearsals and tests."""

from __future__ import annotations

from pathlib import Path

from appliance.minio_server import free_port


def test_a_port_is_none_that_outgoing_connections_get() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    ports = {free_port() for _ in range(20)}
    assert all(1024 < port < first for port in ports)
    assert len(ports) > 1, "who looks at the same time finds another"
