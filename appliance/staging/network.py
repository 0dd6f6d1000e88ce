"""The staging network: the one ordered start list, and what acts on all connections at once.

One asyncio process on loopback: CONNECT proxy → TLS → WebSocket chat or media host, and a control socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import resource
import time
from pathlib import Path
from typing import Final

import msgspec
import structlog

from appliance.build import ENGINE_VARIABLE, staging_copy
from appliance.certificates import system_bundle
from appliance.sockets import PeerError
from appliance.staging import library, tls
from appliance.staging.accounts import Directory
from appliance.staging.arrivals import Arrivals
from appliance.staging.chat import ChatServer
from appliance.staging.control import Control
from appliance.staging.control_types import INFO_FILE, JournalKind, NetworkInfo, Stats
from appliance.staging.crypto.certificates import noise_chain
from appliance.staging.crypto.keys import KeyPair
from appliance.staging.delivery import Delivery
from appliance.staging.endpoints import Endpoints
from appliance.staging.errors import StagingError
from appliance.staging.faults import Faults
from appliance.staging.iq import Requests
from appliance.staging.journal import Journal
from appliance.staging.media_host import MediaHost
from appliance.staging.phone import Phone
from appliance.staging.proxy import Proxy
from appliance.staging.registration import Desk
from appliance.staging.sending import Sending
from appliance.staging.server import TunnelServer
from appliance.staging.session import Gate, Session, client_lives
from appliance.staging.store import Store
from appliance.staging.strikes import Strikes
from appliance.staging.traffic import TrafficDesk
from appliance.staging.usync import Usync

_log: Final = structlog.get_logger(__name__)
TICK_S: Final = 0.25
"""How often faults end, dead clients behind stalled sockets are noticed, and the store is flushed without traffic."""


class Network:
    """Everything that runs; `start` in order, `stop` in reverse. `folder` holds all of its state."""

    def __init__(self, folder: Path, engine_library: Path | None = None) -> None:
        self._folder = folder
        self._engine_library = engine_library
        self._started_at = time.time()
        self._ticker: asyncio.Task[None] | None = None
        self._server: TunnelServer | None = None
        self.sessions: dict[tuple[str, int], Session] = {}
        self.store = Store(folder / "state.db")
        self.journal = Journal(self.store)
        self.faults = Faults(self.journal)
        self.directory = Directory(self.store)
        self.endpoints = Endpoints(self.store, self.directory)
        self.delivery = Delivery(self.store, self.journal, self.faults, self.directory, self.endpoints)
        self.media = MediaHost(folder / "media", self.store, self.faults, self.journal)
        self.sending = Sending(self.store, self.journal, self.directory, self.endpoints, self.delivery, self.media)
        self.desk = Desk(self.directory, self.endpoints, self.faults, self.journal)
        self.phone = Phone(
            self.store,
            self.journal,
            self.directory,
            self.desk,
            self.endpoints,
            self.delivery,
            self.media,
            self.sending,
            self.sessions,
        )
        self.arrivals = Arrivals(
            self.store, self.journal, self.faults, self.directory, self.endpoints, self.delivery, self.media
        )
        usync = Usync(self.directory, self.faults)
        requests = Requests(self.directory, self.endpoints, self.faults, self.journal, self.phone, usync)
        self.gate = Gate(
            self.directory,
            self.desk,
            self.delivery,
            self.faults,
            self.journal,
            requests,
            self.arrivals,
            self.phone,
            self.sessions,
        )
        self.traffic = TrafficDesk(self.directory, self.sending, self.journal, self.store)
        self.strikes = Strikes(self.faults, self.sessions, self.delivery)
        self.proxy = Proxy(self.strikes.admit)
        self.control = Control(self)

    # ---- life

    async def start(self) -> NetworkInfo:
        """Open everything; the answer is what was written to `staging.json`.

        Raises StagingError (another network runs in this folder, the engine library is not right), OSError (the
        folder), sqlite3.Error.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        try:
            await self.control.start(self._folder / "control.sock")  # first: it is the lock of the folder
        except PeerError as error:
            raise StagingError(f"a staging network runs in this folder already ({error}); give another one") from None
        (self._folder / INFO_FILE).unlink(missing_ok=True)  # of one that was killed
        self.store.open()
        root, static = self._keys()
        self.media.open()
        self.directory.load()
        self.delivery.load()
        self.arrivals.load()
        self.journal.load()
        self._close_book()
        ca_file, server_file = tls.ensure_certificates(self._folder)
        patched = await asyncio.to_thread(self._patched_library, root)
        chain = noise_chain(root.private, static.public, dt.datetime.now(dt.UTC))
        chat = ChatServer(static, chain, self.store, self.faults, self.journal, self.gate.welcome)
        self._server = TunnelServer(tls.server_context(server_file), chat, self.media)
        self.proxy.serve, self.proxy.gone = self._server.serve, self._server.forget
        self.faults.on_end.append(self.strikes.ended)
        wanted = self.store.setting("port")
        port = await self.proxy.start(int(wanted) if wanted else 0)
        self.strikes.begin(self.proxy.tunnels, port)
        self.store.set_setting("port", str(port).encode())
        self._ticker = asyncio.get_running_loop().create_task(self._tick())
        info = NetworkInfo(
            proxy_url=f"http://127.0.0.1:{port}",
            control_socket=str(self._folder / "control.sock"),
            ca_file=str(tls.write_roots(ca_file, system_bundle())),
            library=str(patched),
            pid=os.getpid(),
        )
        self.info = info
        self.journal.add(JournalKind.NETWORK_STARTED, pid=os.getpid(), port=port)
        self.store.flush()
        _write_atomically(self._folder / INFO_FILE, msgspec.json.format(msgspec.json.encode(info)))
        self.control.ready.set()
        _log.info("staging_network_ready", proxy=info.proxy_url)
        return info

    async def stop(self) -> None:
        (self._folder / INFO_FILE).unlink(missing_ok=True)
        await self.control.stop()
        self.traffic.stop()
        self.phone.stop()
        self.arrivals.stop()
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.wait([self._ticker])
        for session in list(self.sessions.values()):
            session.connection.close("stopping")
        await self.proxy.stop()
        if self._server is not None:
            await self._server.stop()
        self.journal.add(JournalKind.NETWORK_STOPPED)
        self.store.close()

    def _keys(self) -> tuple[KeyPair, KeyPair]:
        """The root that the patched library trusts, and the server's own key; made once."""
        pairs = []
        for name in ("root_key", "static_key"):
            kept = self.store.setting(name)
            pair = KeyPair.from_private(kept) if kept else KeyPair.generate()
            self.store.set_setting(name, pair.private)
            pairs.append(pair)
        self.store.flush()
        return pairs[0], pairs[1]

    async def add_engine(self, engine: Path) -> Path:
        """A copy of another engine's library (of the engine in that folder) that trusts this network. Raises
        LibraryError, OSError."""
        root, _ = self._keys()
        return await asyncio.to_thread(self._patch, library.library_in(engine), staging_copy(engine), root)

    def _patched_library(self, root: KeyPair) -> Path:
        source = self._engine_library or library.find_engine_library()
        own = os.environ.get(ENGINE_VARIABLE)
        return self._patch(source, staging_copy(Path(own)) if own else f"staging-{source.name}", root)

    def _patch(self, source: Path, name: str, root: KeyPair) -> Path:
        target = self._folder / name
        stamp = f"{source} {source.stat().st_size} {source.stat().st_mtime_ns} {root.public.hex()}"
        stamp_file = target.with_suffix(".origin")
        if not (target.exists() and stamp_file.exists() and stamp_file.read_text() == stamp):
            library.write_patched_copy(source, target, root.public)
            stamp_file.write_text(stamp)
        return target

    def _close_book(self) -> None:
        """A network that was killed could not journal the end of its connections; do it now."""
        rows = self.store.entries("kind='network_started'", (), 1_000_000)
        if not rows:
            return
        opened: dict[int, tuple[str, int | None]] = {}
        for _, _, kind, account, device, _, data in self.store.entries(
            "seq > ? AND kind IN ('login', 'closed')", (rows[-1][0],), 10_000_000
        ):
            values = msgspec.json.decode(data)
            if kind == JournalKind.CLOSED:
                opened.pop(values["connection"], None)
            elif values["answer"] == "success":
                opened[values["connection"]] = (account, device)
        for connection, (account, device) in opened.items():
            self.journal.add(
                JournalKind.CLOSED, account, device, connection=connection, by="network killed", ready=True, seconds=0.0
            )

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.faults.expire()
            for tunnel in list(self.proxy.tunnels.values()):
                if tunnel.stalled and not client_lives(tunnel):
                    tunnel.client.abort()
            self.store.flush()

    # ---- connections

    # ---- figures

    def stats(self) -> Stats:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        accounts = list(self.directory.accounts())
        return Stats(
            uptime_s=time.time() - self._started_at,
            connections=len(self.proxy.tunnels),
            online=sum(session.ready for session in self.sessions.values()),
            accounts=len(accounts),
            devices=sum(len(account.devices) for account in accounts),
            pending=self.delivery.total(),
            journal=self.journal.last,
            unknown_requests=self.journal.count(JournalKind.UNKNOWN_REQUEST),
            second_copies=self.journal.count(JournalKind.SECOND_COPY),
            bad_messages=self.journal.count(JournalKind.BAD_MESSAGE),
            media_served=self.media.served,
            faults=len(self.faults.active()),
            rss_bytes=_resident_bytes(),
            cpu_s=usage.ru_utime + usage.ru_stime,
        )


def _resident_bytes() -> int:
    """Resident memory of this process (proc(5), statm: the second figure, in pages)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _write_atomically(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        unfinished.unlink()
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    unfinished.replace(path)
