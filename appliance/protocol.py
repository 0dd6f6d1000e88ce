"""What the daemon, the workers and the fork server say to each other: newline-delimited JSON over unix sockets.

Worker socket: the worker listens, the daemon connects (a restarted daemon finds it again). The worker speaks first
(`Hello`), the daemon answers `Welcome`. Then `Command`s go down and are answered by `Reply`; `Event`s come up, carry a
number that only grows, and are sent again after a reconnect until `Ack`ed. `Heartbeat`s are not numbered, nor stored.

Fork server socket: one request a line down; `SpawnReply` … and `Exited` up. Exits are repeated on every new
connection until `ForgetExit` names them, so that a daemon that was away misses none.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from appliance.model import MediaKind, PairMethod
from appliance.model_capture import CaptureSettings as CaptureSettings

PROTOCOL_VERSION: Final = 1
"""Grows with every change that an older peer would misread. A daemon adopts workers of its own and the one before."""
ADOPTABLE_VERSIONS: Final = frozenset({PROTOCOL_VERSION, PROTOCOL_VERSION - 1})
MAX_LINE_BYTES: Final = 1 << 20
"""No message of ours comes near it; a peer that sends a longer line is broken or hostile and is cut off."""


# ---- what a worker is told when it is forked ------------------------------------------------------------------------


class WorkerMode(enum.StrEnum):
    RUN = "run"
    """Log in with the credentials that the store holds."""
    PAIR = "pair"
    """The store is fresh: link it first, then go on as RUN in the same process."""


class HistoryLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much history the phone may push at linking: it is the peak of memory, and nothing of it is used."""

    days: int = 1
    size_mb: int = 1
    quota_mb: int = 1


class WorkerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a worker needs to know; it reads no configuration of its own."""

    session: str
    generation: int
    """Of the store that it opens; a PAIR worker carries the one it will get if it succeeds."""
    mode: WorkerMode
    session_folder: str
    """The sandbox: nothing outside it can be written."""
    store_folder: str
    """Below `session_folder`: device.db, capture.db, spool/, control.sock of this store."""
    engine_library: str
    """The shared library of the engine; in staging mode the patched copy in the staging folder."""
    engine_approvals: str | None = None
    """File of the libraries that a rehearsal on this box has passed; None: only this release's tested list counts."""
    staging: bool = False
    proxy: str | None = None
    """http:// or socks5:// URL that every connection takes; never bypassed."""
    capture: CaptureSettings = CaptureSettings()
    history: HistoryLimits = HistoryLimits()
    heartbeat_s: float = 5.0
    memory_limit_bytes: int = 400 * 1024 * 1024
    readable: tuple[str, ...] = ()
    """Further read-only paths of the sandbox: certificates, the staging library's folder."""


class WorkerExit(enum.IntEnum):
    """With which status a worker ends: the fork server reports it, the daemon's policy reads it. Numbers of our own,
    between those that shells and sysexits.h use."""

    STOPPED = 0
    """Asked to stop (command or SIGTERM); disconnected properly."""
    STORE_LOCKED = 40
    """Another process works on this store."""
    SUPERSEDED = 41
    """The store belongs to a newer generation."""
    ENGINE_REFUSED = 42
    """The engine's library is unknown, or not the right one for this kind of session."""
    ENGINE_ENDED = 43
    """The engine gave up (its connect call returned): a new process has to start it."""
    DIAL_FAILED = 44
    """The first connection could not be made; the engine does not try again by itself."""
    PAIRING_FAILED = 45
    """The linking attempt is over without success; its store is worthless."""
    STORE_BROKEN = 46
    """The store cannot be opened or read."""
    LOGGED_OUT = 47
    """Unlinked by our own `Logout`."""
    BAD_SPEC = 48
    """The specification could not be read (plain launcher only)."""
    SANDBOX_FAILED = 49
    """The kernel has a sandbox, and it could not be made."""
    OUT_OF_MEMORY = 50
    """It had passed its limit, and ended before it would take from others."""


# ---- worker → daemon ------------------------------------------------------------------------------------------------


class SignalKind(enum.StrEnum):
    """What the engine or the process did, before anybody judges it."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    DIAL_FAILED = "dial_failed"
    STREAM_ERROR = "stream_error"
    STREAM_REPLACED = "stream_replaced"
    LOGGED_OUT = "logged_out"
    TEMPORARY_BAN = "temporary_ban"
    CLIENT_OUTDATED = "client_outdated"
    CONNECT_FAILURE = "connect_failure"
    KEEPALIVE_TIMEOUT = "keepalive_timeout"
    KEEPALIVE_RESTORED = "keepalive_restored"
    ENGINE_ENDED = "engine_ended"
    """The engine's connect call returned or raised: nothing more will come of this process."""


class EngineState(enum.StrEnum):
    """What the engine has proved of itself; part of a heartbeat."""

    STARTING = "starting"
    UNPAIRED = "unpaired"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    ENDED = "ended"


class Signal(msgspec.Struct, frozen=True, kw_only=True, tag="signal"):
    """One engine event about the connection. `code` is WhatsApp's number, `raw` its node, without message content."""

    kind: SignalKind
    code: int | None = None
    raw: str = ""
    expires_s: float | None = None
    """Length of a temporary ban."""
    connected_at: float | None = None
    """When the connection that ended had logged in; None if it never had."""


class PairShown(msgspec.Struct, frozen=True, kw_only=True, tag="pair_shown"):
    """A code or QR text that can be used until `expires_at`."""

    method: PairMethod
    value: str
    expires_at: float


class Paired(msgspec.Struct, frozen=True, kw_only=True, tag="paired"):
    """The phone accepted; the store now holds credentials. The first login follows (a `Signal` CONNECTED)."""

    jid: str
    lid: str
    platform: str = ""


class PairFailed(msgspec.Struct, frozen=True, kw_only=True, tag="pair_failed"):
    """The attempt is over; this worker ends. `shown`: whether a code had been handed out."""

    reason: str
    """`timeout`, `refused`, `dial_failed`, `outdated`, `error`, …: the word that policy and user's text go by."""
    code: int | None = None
    raw: str = ""
    shown: bool = False


class Spooled(msgspec.Struct, frozen=True, kw_only=True, tag="spooled"):
    """An item lies complete and durable in the spool folder; a hint, the folder is the truth."""

    item: str


class CaptureNote(msgspec.Struct, frozen=True, kw_only=True, tag="capture_note"):
    """Something worth telling that produced no file: a view-once placeholder, media that was gone or too large."""

    note: str
    message_id: str
    kind: MediaKind | None = None


EventBody = Signal | PairShown | Paired | PairFailed | Spooled | CaptureNote


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    protocol: int
    session: str
    generation: int
    store_folder: str
    mode: WorkerMode
    pid: int
    started_at: float
    engine: str
    """Version of the engine in use."""
    engine_state: EngineState
    connected_at: float | None
    sandbox: str
    """`full`, or what the kernel lacks."""
    oldest_event: int
    """Number of the oldest event that was not yet acknowledged; the next one's number if there is none."""
    first_event: int = 0
    """Number of the first event that this process itself records; smaller ones were left by one that has ended."""
    build: str = ""
    """Which code it runs (`build.build_name`); empty: a release that did not say so."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag="event"):
    seq: int
    at: float
    body: EventBody


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag="heartbeat"):
    """Sent every `heartbeat_s`; the evidence that health verdicts are made of."""

    at: float
    engine_state: EngineState
    loop_lag_s: float
    """The largest delay of the worker's event loop since the last heartbeat."""
    pss_bytes: int
    last_frame_at: float | None
    """When the engine last received anything from WhatsApp."""
    last_message_at: float | None
    ping_sent_at: float | None
    """When the engine last sent a keep-alive ping, and …"""
    ping_answered_at: float | None
    """… when it last saw one answered."""
    inbox: int
    """Messages recorded and not yet judged by the capture rules."""
    phone_seen_at: float | None = None
    """When the account's own phone last did something that this process was told of."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag="reply"):
    id: int
    error: str | None = None
    data: dict[str, object] = msgspec.field(default_factory=dict)


FromWorker = Hello | Event | Heartbeat | Reply


# ---- daemon → worker ------------------------------------------------------------------------------------------------


class PairByCode(msgspec.Struct, frozen=True, kw_only=True, tag="pair_by_code"):
    phone: str
    """Digits only, with country code."""
    login_wait_s: float = 0.0
    """Once the phone has accepted, the first login waits for `LogIn`, at most so long."""


class PairByQr(msgspec.Struct, frozen=True, kw_only=True, tag="pair_by_qr"):
    login_wait_s: float = 0.0
    """As of `PairByCode`."""


class LogIn(msgspec.Struct, frozen=True, kw_only=True, tag="log_in"):
    """A linked device's turn to log in for the first time, and to do the heavy part: keys and history."""


class Promote(msgspec.Struct, frozen=True, kw_only=True, tag="promote"):
    """The daemon has made this worker's store the session's: go on as its worker."""

    generation: int


class Probe(msgspec.Struct, frozen=True, kw_only=True, tag="probe"):
    """Ask WhatsApp something harmless; the reply says how long the answer took. Refused while one is under way."""

    timeout_s: float = 5.0


class SendText(msgspec.Struct, frozen=True, kw_only=True, tag="send_text"):
    to: str
    """A JID, or `self` for the account's own chat."""
    text: str


class SendFile(msgspec.Struct, frozen=True, kw_only=True, tag="send_file"):
    to: str
    path: str
    """Inside the session's folder."""
    kind: MediaKind
    mimetype: str
    caption: str = ""


class Configure(msgspec.Struct, frozen=True, kw_only=True, tag="configure"):
    """New capture settings, effective for messages from now on."""

    capture: CaptureSettings


class Logout(msgspec.Struct, frozen=True, kw_only=True, tag="logout"):
    """Unlink this device at WhatsApp; the store is worthless afterwards."""


class Stop(msgspec.Struct, frozen=True, kw_only=True, tag="stop"):
    """Disconnect properly and exit with status 0."""


class DumpStacks(msgspec.Struct, frozen=True, kw_only=True, tag="dump_stacks"):
    """Write every thread's stack to `stacks.txt` in the store folder."""


CommandBody = (
    PairByCode | PairByQr | LogIn | Promote | Probe | SendText | SendFile | Configure | Logout | Stop | DumpStacks
)


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag="welcome"):
    protocol: int
    daemon: str
    """Instance id of the daemon, for the log."""
    capture: CaptureSettings | None = None
    """What the worker shall keep from now on: the settings may have changed while nobody could tell it. None: as
    before."""


class Command(msgspec.Struct, frozen=True, kw_only=True, tag="command"):
    id: int
    body: CommandBody


class Ack(msgspec.Struct, frozen=True, kw_only=True, tag="ack"):
    """Everything up to and including `seq` is safe with the daemon."""

    seq: int


ToWorker = Welcome | Command | Ack


# ---- the fork server ------------------------------------------------------------------------------------------------


class Spawn(msgspec.Struct, frozen=True, kw_only=True, tag="spawn"):
    spec: WorkerSpec


class Kill(msgspec.Struct, frozen=True, kw_only=True, tag="kill"):
    """Send a signal to one worker; `pid` guards against signalling its successor."""

    session: str
    pid: int
    signal: int


class ListWorkers(msgspec.Struct, frozen=True, kw_only=True, tag="list"):
    pass


class ForgetExit(msgspec.Struct, frozen=True, kw_only=True, tag="forget_exit"):
    pid: int


class ExecInPlace(msgspec.Struct, frozen=True, kw_only=True, tag="exec"):
    """Become the fork server of another release: same PID, the workers stay its children."""

    python: str
    """Path of the interpreter of the new release's virtual environment."""
    engine: str | None = None
    """Folder of an engine of its own; empty: the one that came with that release; None: as before."""


ForkRequest = Spawn | Kill | ListWorkers | ForgetExit | ExecInPlace


class ForkHello(msgspec.Struct, frozen=True, kw_only=True, tag="fork_hello"):
    protocol: int
    pid: int
    started_at: float
    release: str
    build: str = ""
    """Which code its children run (`build.build_name`); empty: a release that did not say so."""
    engine: str = ""
    """Folder of the engine that they open; empty: the one that came with the release."""


class WorkerProcess(msgspec.Struct, frozen=True, kw_only=True):
    session: str
    pid: int
    generation: int
    store_folder: str
    started_at: float


class Spawned(msgspec.Struct, frozen=True, kw_only=True, tag="spawned"):
    session: str
    pid: int | None
    error: str | None = None


class Workers(msgspec.Struct, frozen=True, kw_only=True, tag="workers"):
    workers: list[WorkerProcess]


class Exited(msgspec.Struct, frozen=True, kw_only=True, tag="exited"):
    session: str
    pid: int
    generation: int
    at: float
    status: int | None
    """Exit status, if it exited by itself."""
    signal: int | None
    """The signal that ended it, otherwise."""
    out_of_memory: bool = False
    """The kernel killed it because its control group had reached its limit."""


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    error: str


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    pass


FromForkServer = ForkHello | Spawned | Workers | Exited | Refused | Done


# ---- the spool ------------------------------------------------------------------------------------------------------


class SpoolItem(msgspec.Struct, frozen=True, kw_only=True):
    """Sidecar of a captured file: `<item>.json` beside `<item>.data` in `spool/`; the sidecar is written last, so an
    item without one is not complete."""

    item: str
    session: str
    category: str
    kind: MediaKind
    mimetype: str
    sha256: str
    size: int
    message_id: str
    chat: str
    sender: str
    sender_alt: str = ""
    """The same sender under the other kind of address (phone number or LID), if it is known."""
    sent_at: float
    captured_at: float
    caption: str = ""
    file_name: str = ""
    """As the sender named it: hostile until proven otherwise."""
    via: str = "payload"
    """`payload`, `trigger` (the owner's reply), `revoke`."""
