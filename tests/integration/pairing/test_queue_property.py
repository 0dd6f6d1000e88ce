"""Two daemons on one real Redis, any interleaving, any passing of time: never two holders, never two codes."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model import PairMethod
from appliance.pairing.redis_client import RedisClient
from appliance.pairing.redis_queue import Busy, Held, Job, Limited, PairingQueue, Queued, Rules, Verdict
from appliance.redis_server import RedisServer

T = TypeVar("T")
SESSIONS = ("one", "two", "three")
PHONES = ("+221771234512", "+221771234599", None)
LOCK_S = 15.0
INTERVAL_S = 600.0
CODE_LIFE_S = 160.0
SLOTS = 2
RULES = Rules(
    lock_s=LOCK_S,
    session_interval_s=INTERVAL_S,
    phone_interval_s=INTERVAL_S,
    appliance_codes=100_000,
    appliance_window_s=3600,
    cool_first_s=1800,
    cool_longest_s=86_400,
    cool_remembered_s=172_800,
)
_prefixes = (f"test:{number}:" for number in itertools.count())


class Server:
    """Redis, and the loop that its client lives in."""

    def __init__(self, runner: asyncio.Runner, client: RedisClient) -> None:
        self.runner = runner
        self.client = client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("queue")
    with asyncio.Runner() as runner:
        redis = RedisServer(folder=folder / "redis", socket=_socket(folder), log=lambda _: None)
        runner.run(redis.start())
        client = RedisClient(f"unix://{_socket(folder)}")
        yield Server(runner, client)
        runner.run(client.close())
        runner.run(redis.stop())


def _socket(folder: Path) -> Path:
    return folder / "run" / "redis.sock"


class Belief:
    """A job as its daemon believes to hold it."""

    def __init__(self, job: Job, at: float) -> None:
        self.job = job
        self.proved_at = at
        self.code_until: float | None = None

    def proved(self, now: float) -> bool:
        return now - self.proved_at < LOCK_S


class World:
    """Three daemons, two of them on one node, and what each believes."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.now = 1_800_000_000.0
        prefix = next(_prefixes)
        self.prefix = prefix
        self.daemons = [
            PairingQueue(
                server.client.client,
                node=node,
                owner=owner,
                rules=RULES,
                clock=lambda: self.now,
                prefix=prefix,
            )
            for node, owner in (("a", "a:1"), ("a", "a:2"), ("b", "b:1"))
        ]
        self.nodes = ["a", "a", "b"]
        self.holding: list[dict[str, Belief]] = [{}, {}, {}]
        self.counted: dict[str, tuple[float, str]] = {}
        self.fences: set[int] = set()
        self.ids = itertools.count()

    def run(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return self.server.runner.run(awaited())

    # ---- what can happen

    def ask(self, session: str, phone: str | None, count: int, first: int) -> None:
        """Many at once, from all daemons in turn."""
        method = PairMethod.QR if phone is None else PairMethod.CODE
        ids = [f"j{next(self.ids)}" for _ in range(count)]

        async def together() -> list[Queued | Busy | Limited]:
            return await asyncio.gather(
                *(
                    self.daemons[(first + number) % 3].enqueue(
                        job_id, session, method, phone, relink=False, created_at=self.now
                    )
                    for number, job_id in enumerate(ids)
                )
            )

        answers = self.run(together())
        queued = [job_id for job_id, answer in zip(ids, answers, strict=True) if isinstance(answer, Queued)]
        assert len(queued) <= 1
        if queued:
            for name in _names(session, phone):
                until, _ = self.counted.get(name, (0.0, ""))
                assert until <= self.now, f"let in although {name} has to wait"
            assert all(
                isinstance(answer, Queued) or (isinstance(answer, Busy) and answer.other == queued[0])
                for answer in answers
            )

    def take(self, daemon: int) -> None:
        job = self.run(self.daemons[daemon].take(SLOTS, 0))
        if job is not None:
            assert job.node == self.nodes[daemon]
            assert job.fence > max(self.fences, default=0)
            self.fences.add(job.fence)
            self.holding[daemon][job.id] = Belief(job, self.now)

    def extend_all(self, daemon: int) -> None:
        for job_id, held in list(self.holding[daemon].items()):
            answer = self.run(self.daemons[daemon].extend(held.job))
            if answer is Held.HELD:
                held.proved_at = self.now
            else:
                del self.holding[daemon][job_id]
                if answer is Held.CANCELLED:
                    self._finish(daemon, held, Verdict.KEEP)

    def show(self, daemon: int, pick: int) -> None:
        """Also by one who does not know yet that it was overtaken."""
        held = self._pick(daemon, pick)
        if held is None:
            return
        first = held.code_until is None
        until = self.now + CODE_LIFE_S
        if self.run(self.daemons[daemon].show(held.job, f"CODE-{held.job.id}", until)):
            held.code_until = until
            if first:
                for name in _names(held.job.session, held.job.phone):
                    self.counted[name] = (self.now + INTERVAL_S, held.job.id)
        else:
            del self.holding[daemon][held.job.id]

    def finish(self, daemon: int, pick: int, verdict: Verdict) -> None:
        held = self._pick(daemon, pick)
        if held is not None:
            del self.holding[daemon][held.job.id]
            self._finish(daemon, held, verdict)

    def _finish(self, daemon: int, held: Belief, verdict: Verdict) -> None:
        if self.run(self.daemons[daemon].finish(held.job.id, held.job.fence, verdict)):
            if verdict in (Verdict.FREE, Verdict.COOL):
                self._free(held.job.id)
            if verdict is Verdict.COOL and held.job.phone:
                name = f"phone:{held.job.phone}"
                self.counted[name] = (max(self.now + RULES.cool_first_s, self.counted.get(name, (0.0, ""))[0]), "cool")

    def learn_phone(self, daemon: int, pick: int, phone: str) -> None:
        held = self._pick(daemon, pick)
        if held is not None and held.job.phone is None:
            answer = self.run(self.daemons[daemon].add_phone(held.job, phone))
            if answer is not Held.HELD:
                del self.holding[daemon][held.job.id]
                self._finish(daemon, held, Verdict.KEEP)

    def sweep(self, daemon: int) -> None:
        for job_id in self.run(self.daemons[daemon].sweep()):
            believers = [held for one in self.holding for held in one.values() if held.job.id == job_id]
            assert not any(held.proved(self.now) for held in believers), "swept from under a proved holder"
            alive = max((held.code_until or 0.0 for held in believers), default=0.0)
            for name, (until, by) in list(self.counted.items()):
                if by == job_id:
                    self.counted[name] = (min(until, alive) if alive > self.now else 0.0, by)

    def crash(self, daemon: int) -> None:
        """It forgets everything; what it held stays in Redis until somebody sweeps, which may free the next code."""
        for job_id in self.holding[daemon]:
            for name, (_, by) in list(self.counted.items()):
                if by == job_id:
                    self.counted[name] = (0.0, by)
        self.holding[daemon] = {}

    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    def lift(self, session: str) -> None:
        names = [f"session:{session}", *(f"phone:{phone}" for phone in PHONES[:2])]
        self.run(self.daemons[0].lift(session, [phone for phone in PHONES if phone]))
        for name in names:
            self.counted.pop(name, None)

    def cancel(self, daemon: int, pick: int) -> None:
        held = self._pick(daemon, pick)
        if held is not None:
            self.run(self.daemons[(daemon + 1) % 3].cancel(held.job.id))

    # ---- what must always be true

    def check(self) -> None:
        self.never_two_holders()
        self.never_two_codes()
        self.slots_are_kept()
        self.one_job_for_each_session_and_number()

    def never_two_holders(self) -> None:
        believers = [
            (daemon, held) for daemon, one in enumerate(self.holding) for held in one.values() if held.proved(self.now)
        ]
        for kind in ("session", "phone"):
            names = [getattr(held.job, kind) for _, held in believers if getattr(held.job, kind)]
            assert len(names) == len(set(names)), f"two holders of one {kind}"

    def never_two_codes(self) -> None:
        """As the API answers: only a proved holder shows its code."""
        shown = [
            held.job.session
            for one in self.holding
            for held in one.values()
            if held.proved(self.now) and held.code_until is not None and held.code_until > self.now
        ]
        assert len(shown) == len(set(shown)), "two codes for one session"

    def slots_are_kept(self) -> None:
        for node in ("a", "b"):
            _, busy = self.run(self.daemons[0 if node == "a" else 2].of_node())
            assert len(busy) <= SLOTS

    def one_job_for_each_session_and_number(self) -> None:
        keys = self.run(self.server.client.client.keys(f"{self.prefix}job:*"))
        jobs = [self.run(self.daemons[0].get(key.rpartition(":")[2])) for key in keys]
        for kind in ("session", "phone"):
            names = [getattr(job, kind) for job in jobs if job is not None and getattr(job, kind)]
            assert len(names) == len(set(names)), f"two jobs for one {kind}"

    def _pick(self, daemon: int, pick: int) -> Belief | None:
        held = list(self.holding[daemon].values())
        return held[pick % len(held)] if held else None

    def _free(self, job_id: str) -> None:
        self.counted = {name: counted for name, counted in self.counted.items() if counted[1] != job_id}


def _names(session: str, phone: str | None) -> list[str]:
    return [f"session:{session}", *([f"phone:{phone}"] if phone else [])]


def _enabled(world: World, chance: random.Random) -> list[tuple[int, Callable[[], None]]]:
    """What makes sense now, with weights. `chance` decides the details."""
    daemon, pick = chance.randrange(3), chance.randrange(4)
    session, phone = chance.choice(SESSIONS), chance.choice(PHONES)
    seconds = chance.choice((0.5, 4.0, 4.0, 14.9, 14.9, 15.1, 60.0, 161.0, 601.0))
    actions: list[tuple[int, Callable[[], None]]] = [
        (3, lambda: world.ask(session, phone, chance.choice((1, 2, 3, 100)), daemon)),
        (2, lambda: world.time_passes(seconds)),
        (4, lambda: world.take(daemon)),
        (2, lambda: world.sweep(daemon)),
    ]
    holders = [number for number, held in enumerate(world.holding) if held]
    if holders:
        holder = chance.choice(holders)
        actions += [
            (3, lambda: world.extend_all(holder)),
            (4, lambda: world.show(holder, pick)),
            (3, lambda: world.finish(holder, pick, chance.choice(list(Verdict)))),
            (1, lambda: world.learn_phone(holder, pick, chance.choice(PHONES[:2]))),
            (1, lambda: world.crash(holder)),
            (1, lambda: world.cancel(holder, pick)),
            (1, lambda: world.lift(session)),
        ]
    return actions


@pytest.mark.timeout(280)
@settings(deadline=None)
@given(seed=st.integers(0, 2**64 - 1), length=st.integers(20, 100))
def test_never_two_holders_never_two_codes(server: Server, seed: int, length: int) -> None:
    """Steps are drawn evenly: left to itself, hypothesis repeats a few, and hardly ever gets a job to its end."""
    world = World(server)
    chance = random.Random(seed)
    for _ in range(length):
        weights, actions = zip(*_enabled(world, chance), strict=True)
        chance.choices(actions, weights)[0]()
        world.check()


def test_a_hundred_at_once_for_one_user_by_two_daemons_are_one_job(server: Server) -> None:
    world = World(server)
    world.ask("one", PHONES[0], 100, 0)
    waiting = [world.run(queue.of_node())[0] for queue in world.daemons[1:]]
    assert sum(len(ids) for ids in waiting) == 1
    world.one_job_for_each_session_and_number()
