"""Which ports the world can reach: of ours, at most the API's, and that only with TLS."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import psutil

from appliance.doctor.check import Check, Patient, Seen, in_thread, info, ok, problem, unseen

REDIS_PORT: Final = 6379
HTTPS_PORTS: Final = (80, 443)


class Listener(NamedTuple):
    """`program`: empty where this user may not know."""

    address: str
    port: int
    program: str


def look(patient: Patient) -> list[Seen]:
    try:
        found = list(_listeners())
    except (psutil.AccessDenied, PermissionError):
        return [unseen("this process may not see which ports are open")]
    return judge(patient, found)


def judge(patient: Patient, listeners: Iterable[Listener]) -> list[Seen]:
    """What these mean for this appliance."""
    outside = sorted({one for one in listeners if not _only_here(one.address)}, key=lambda one: one.port)
    api = patient.settings.api.place()
    private = _private(patient)
    seen: list[Seen] = []
    others: list[str] = []
    for one in outside:
        place = f"{one.address}, port {one.port}" + (f" ({one.program})" if one.program else "")
        if one.port in private:
            remedy = f"Have it listen on 127.0.0.1 only, and close port {one.port} in the firewall until then."
            seen.append(problem(f"{private[one.port]} can be reached from elsewhere", remedy, place))
        elif api is not None and one.port == api.port:
            seen.append(_api(patient, place))
        else:
            others.append(f"{one.port}{f' ({one.program})' if one.program else ''}")
    if others:
        seen.append(
            info(f"not the appliance's own: {', '.join(dict.fromkeys(others))}", "", "other ports open to the world")
        )
    if not any(one.looked_at != "other ports open to the world" for one in seen):
        seen.append(ok("nothing of the appliance can be reached from elsewhere over TCP"))
    return seen


def _api(patient: Patient, place: str) -> Seen:
    settings = patient.settings.api
    if settings.certificate is not None:
        return info("the API can be reached from elsewhere, with TLS and a token", "", place)
    if settings.trusted_proxies:
        return info("the API takes proxies from elsewhere that end TLS; it refuses everybody else", "", place)
    return problem(
        "the API can be reached without TLS", "Set api.certificate and api.key, or listen on 127.0.0.1.", place
    )


def _private(patient: Patient) -> dict[int, str]:
    """Ports that must be for this machine alone, if the settings say that we use them here."""
    settings = patient.settings
    ports = {}
    redis = urlsplit(settings.redis_url)
    if redis.scheme != "unix":
        ports[redis.port or REDIS_PORT] = "Redis"
    store = urlsplit(settings.storage.endpoint or "")
    if store.hostname is not None:
        ports[store.port or (443 if store.scheme == "https" else 80)] = "the object store"
    return {port: name for port, name in ports.items() if port not in HTTPS_PORTS}


def _listeners() -> Iterator[Listener]:
    for one in psutil.net_connections("tcp"):
        if one.status == psutil.CONN_LISTEN and one.laddr:
            yield Listener(str(one.laddr.ip), int(one.laddr.port), _program(one.pid))


def _program(pid: int | None) -> str:
    if pid is None:
        return ""
    try:
        return str(psutil.Process(pid).name())
    except psutil.Error:
        return ""


def _only_here(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


CHECK: Final = Check("ports", "TCP ports open to elsewhere", in_thread(look))
