"""Tokens, who is let in, repeated calls and the audit, with a real database and a clock of the test's."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from multidict import CIMultiDict

from appliance.api.audit_log import REFUSALS_TOGETHER, AuditLog, Deed
from appliance.api.gatekeeper import UNIX, Gatekeeper, Peer, admit
from appliance.api.repeats import KEEP_S, Repeats
from appliance.api.routes import Answer, Caller, Creates, post
from appliance.api.settings import ApiSettings
from appliance.api.token_store import TokenStore
from appliance.database import Database
from appliance.model_access import AuditQuery, TokenRequest
from appliance.model_api import CreateSession, Removed, Scope
from appliance.problems import ProblemError

OUTSIDE = Peer("tcp", "192.0.2.7")
LOCAL = Peer("unix", "pid 1", "user:root")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "amda.db")
    yield opened
    await opened.close()


class World:
    def __init__(self, database: Database, **settings: object) -> None:
        self.clock = Clock()
        self.database = database
        self.tokens = TokenStore(database, self.clock)
        self.audit = AuditLog(database, 60, self.clock)
        made = ApiSettings(**settings)  # type: ignore[arg-type]
        self.keeper = Gatekeeper(self.tokens, self.audit, made, self.clock)

    def call(self, token: str | None = None, peer: Peer = OUTSIDE, forwarded: str | None = None) -> Caller:
        headers = CIMultiDict({} if token is None else {"Authorization": f"Bearer {token}"})
        if forwarded is not None:
            headers.add("X-Forwarded-For", forwarded)
        return self.keeper.identify(headers, peer)

    def refusal(self, token: str | None = None, peer: Peer = OUTSIDE) -> int:
        with pytest.raises(ProblemError) as caught:
            self.call(token, peer)
        return caught.value.problem.status

    async def recorded(self) -> list[tuple[str, str, int]]:
        await self.audit.flush()
        found = (await self.audit.search(AuditQuery())).items
        return [(entry.action, entry.address, entry.count) for entry in found]


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


async def test_a_token_works_until_it_expires_or_is_revoked(world: World) -> None:
    made = await world.tokens.create(TokenRequest(name="one", scope=Scope.OPERATE, expires_in_s=60), "user:root")
    other = await world.tokens.create(TokenRequest(name="two"), "user:root")
    caller = world.call(made.secret)
    assert (caller.who, caller.scope, caller.address) == ("token:one", Scope.OPERATE, "192.0.2.7")
    world.clock.now += 60
    assert world.refusal(made.secret) == 401
    assert world.call(other.secret).scope is Scope.READ
    await world.tokens.revoke(other.details.id)
    assert world.refusal(other.secret) == 401
    assert await world.tokens.list(everything=False) == []
    assert len(await world.tokens.list(everything=True)) == 2


async def test_only_the_hash_of_a_token_is_kept(world: World) -> None:
    made = await world.tokens.create(TokenRequest(name="one"), "user:root")
    secret = made.secret.split("_", 2)[2]  # may have such signs itself
    await world.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = await asyncio.to_thread(world.database.path.read_bytes)
    assert b"one" in content
    assert secret.encode() not in content
    assert secret not in repr(await world.tokens.list(everything=True))


async def test_tokens_outlive_a_restart_with_their_last_use(world: World) -> None:
    made = await world.tokens.create(TokenRequest(name="one", session="anna"), "user:root")
    world.call(made.secret)
    await world.tokens.flush()
    again = World(world.database)
    await again.tokens.load()
    assert again.call(made.secret).session == "anna"
    (view,) = await TokenStore(world.database).list(everything=True)
    assert (view.last_used_at, view.last_address) == (1000.0, "192.0.2.7")


async def test_refused_requests_for_tokens(world: World) -> None:
    await world.tokens.create(TokenRequest(name="one"), "user:root")
    with pytest.raises(ProblemError, match="a token one already"):
        await world.tokens.create(TokenRequest(name="one"), "user:root")
    with pytest.raises(ProblemError, match="admin is for the whole"):
        await world.tokens.create(TokenRequest(name="two", scope=Scope.ADMIN, session="anna"), "user:root")
    with pytest.raises(ProblemError, match="no token nothing"):
        await world.tokens.revoke("nothing")


@pytest.mark.parametrize("text", ["", "x", "amda_000000000000_" + "A" * 43, "amda_" + "é" * 9, "amda_a_b_c"])
async def test_what_is_no_token_is_refused(world: World, text: str) -> None:
    assert world.refusal(text) == 401


async def test_guesses_are_limited_and_recorded_in_few_rows(world: World) -> None:
    good = await world.tokens.create(TokenRequest(name="good"), "user:root")
    late = await world.tokens.create(TokenRequest(name="late"), "user:root")
    world.call(good.secret)
    answers = [world.refusal("amda_000000000000_" + "A" * 43) for _ in range(1000)]
    assert answers[:10] == [401] * 10
    assert set(answers[10:]) == {429}
    assert world.refusal(late.secret) == 429, "a right guess is not told from a wrong one"
    assert world.call(good.secret).scope is Scope.READ, "who was here before is not locked out by others"
    assert world.call(late.secret, Peer("tcp", "192.0.2.8")).scope is Scope.READ
    assert await world.recorded() == [
        ("login_while_locked", "192.0.2.7", 991),
        ("locked", "192.0.2.7", 1),
        ("login_failed", "192.0.2.7", 10),
    ]


async def test_many_addresses_share_a_row(world: World) -> None:
    for number in range(1000):
        world.refusal("x", Peer("tcp", f"10.0.{number // 250}.{number % 250}"))
    rows = await world.recorded()
    assert len(rows) <= REFUSALS_TOGETHER + 1
    assert sum(count for _, _, count in rows) == 1000


async def test_rate_is_bounded_for_each_token(database: Database) -> None:
    world = World(database, requests_per_s=10, burst=3)
    made = await world.tokens.create(TokenRequest(name="one"), "user:root")
    for _ in range(3):
        world.call(made.secret)
    with pytest.raises(ProblemError) as caught:
        world.call(made.secret)
    assert (caught.value.problem.status, caught.value.retry_after_s) == (429, pytest.approx(0.1))
    for _ in range(500):
        assert world.call(None, LOCAL).scope is Scope.ADMIN, "the unix socket is not limited"


async def test_who_comes_through_a_proxy_is_known_by_its_own_address(database: Database) -> None:
    world = World(database, trusted_proxies=("10.0.0.0/8",))
    proxy = Peer("tcp", "10.0.0.5")
    assert world.call(None, proxy, "198.51.100.1, 10.0.0.9").address == "198.51.100.1"
    assert world.call(None, proxy, "made-up, 198.51.100.2").address == "198.51.100.2"
    assert world.call(None, proxy, "nonsense").address == "10.0.0.5"
    assert world.call(None, OUTSIDE, "198.51.100.1").address == "192.0.2.7", "only proxies are believed"


async def test_what_a_client_says_of_itself_before_the_proxy_is_not_believed(database: Database) -> None:
    """Some proxies append to the client's line, some add one of their own."""
    world = World(database, trusted_proxies=("10.0.0.5",))
    headers = CIMultiDict([("X-Forwarded-For", "203.0.113.9"), ("x-forwarded-for", "198.51.100.1")])
    assert world.keeper.identify(headers, Peer("tcp", "10.0.0.5")).address == "198.51.100.1"
    headers = CIMultiDict({"X-Forwarded-For": "203.0.113.9, ::ffff:198.51.100.1"})
    assert world.keeper.identify(headers, Peer("tcp", "10.0.0.5")).address == "198.51.100.1"


async def test_a_proxy_is_known_whatever_family_the_door_sees(database: Database) -> None:
    keeper = World(database, trusted_proxies=("10.0.0.5", "2001:db8::/64")).keeper
    assert all(map(keeper.is_proxy, ("10.0.0.5", "::ffff:10.0.0.5", "2001:db8::7")))
    assert not any(map(keeper.is_proxy, ("10.0.0.6", "::ffff:10.0.0.6", "2001:db8:1::7")))


@pytest.mark.parametrize("mark", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
async def test_whatever_a_proxy_adds_takes_the_local_rights_away(world: World, mark: str) -> None:
    made = await world.tokens.create(TokenRequest(name="one"), "user:root")
    assert world.keeper.identify(CIMultiDict({mark: "for=198.51.100.1"}), LOCAL).scope is None
    headers = CIMultiDict({mark: "for=198.51.100.1", "Authorization": f"Bearer {made.secret}"})
    assert world.keeper.identify(headers, LOCAL).scope is Scope.READ


async def test_revoking_counts_although_it_cannot_be_written_down(world: World) -> None:
    made = await world.tokens.create(TokenRequest(name="one"), "user:root")
    ended: list[bool] = []
    world.tokens.on_end(lambda: ended.append(world.tokens.works(made.details.id)))
    await world.database.execute("PRAGMA query_only=ON")  # as on a disk without room
    with pytest.raises(sqlite3.OperationalError):
        await world.tokens.revoke(made.details.id)
    assert ended == [False], "its streams end"
    assert world.refusal(made.secret) == 401
    await world.database.execute("PRAGMA query_only=OFF")


async def test_a_proxy_on_the_unix_socket_does_not_pass_its_rights_on(world: World) -> None:
    assert world.call(None, LOCAL).scope is Scope.ADMIN
    assert world.call(None, LOCAL, "198.51.100.1").scope is None
    assert world.refusal("wrong", LOCAL) == 401


def test_scopes_include_those_below() -> None:
    async def handler() -> None: ...

    for needed in Scope:
        route = post("/v1/x", handler, needed)
        for has in Scope:
            caller = Caller("token:x", "tcp", "", has)
            if list(Scope).index(has) >= list(Scope).index(needed):
                admit(route, caller)
            else:
                with pytest.raises(ProblemError, match="needs the scope"):
                    admit(route, caller)
        with pytest.raises(ProblemError, match="needs a token"):
            admit(route, Caller("", "tcp", "", None))


class Maker:
    """Creates things by name; each can be looked at again."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.route = post(
            "/v1/x", self.make, status=201, creates=Creates[Removed](name=lambda one: one.session, recall=self.recall)
        )

    async def make(self, body: CreateSession) -> Removed:
        await self.may_go_on.wait()
        if body.id == "bad":
            raise web.HTTPConflict
        self.made.append(body.id)
        return Removed(session=f"{body.id}-{len(self.made)}", purged=False, note=None)

    async def recall(self, name: str) -> Removed:
        return Removed(session=name, purged=True, note="again")

    async def once(self, repeats: Repeats, key: str, session: str, who: str = "me") -> object:
        body = CreateSession(id=session)
        return await repeats.once(self.route, who, key, body, lambda: self.make(body))


async def test_a_repeated_call_creates_nothing(database: Database) -> None:
    clock, maker = Clock(), Maker()
    repeats = Repeats(database, clock)
    first = await maker.once(repeats, "k1", "one")
    assert isinstance(first, Removed)
    again = await maker.once(repeats, "k1", "one")
    assert isinstance(again, Answer)
    assert (again.body.session, again.body.note, again.status) == (first.session, "again", 201)
    await maker.once(repeats, "k2", "one")
    await maker.once(repeats, "k1", "one", who="you")
    assert len(maker.made) == 3
    with pytest.raises(ProblemError) as caught:
        await maker.once(repeats, "k1", "two")
    assert caught.value.problem.status == 422
    clock.now += KEEP_S + 1
    await repeats.forget()
    await maker.once(repeats, "k1", "two")
    assert len(maker.made) == 4
    with pytest.raises(ProblemError, match="visible ASCII"):
        await maker.once(repeats, "k 1", "two")


async def test_a_call_that_failed_may_be_repeated_and_one_under_way_may_not(database: Database) -> None:
    maker, repeats = Maker(), Repeats(database)
    with pytest.raises(web.HTTPConflict):
        await maker.once(repeats, "k", "bad")
    maker.may_go_on.clear()
    running = asyncio.ensure_future(maker.once(repeats, "k", "good"))
    await asyncio.sleep(0)
    with pytest.raises(ProblemError) as caught:
        await maker.once(repeats, "k", "good")
    assert (caught.value.problem.status, caught.value.retry_after_s) == (409, 1.0)
    maker.may_go_on.set()
    assert isinstance(await running, Removed)


async def test_the_audit_is_searched_and_forgotten(world: World) -> None:
    for number in range(5):
        world.clock.now = 1000.0 + number
        session = "anna" if number % 2 else None
        await world.audit.record(Deed("token:back end", "tcp", "192.0.2.7", "sessions_start", "/x", session, 200))
    await world.audit.record(Deed("user:root", "unix", "pid 1", "tokens_create", status=201))
    page = await world.audit.search(AuditQuery(limit=2))
    assert [entry.action for entry in page.items] == ["tokens_create", "sessions_start"]
    following = await world.audit.search(AuditQuery(before=page.next))
    assert len(following.items) == 4
    assert following.next is None
    assert len((await world.audit.search(AuditQuery(session="anna"))).items) == 2
    assert len((await world.audit.search(AuditQuery(who="back end", since=1002.0, until=1004.0))).items) == 2
    assert len((await world.audit.search(AuditQuery(who="user:root"))).items) == 1
    await world.audit.forget(1004.0)
    assert len((await world.audit.search(AuditQuery())).items) == 2
    msgspec.json.encode(page)


async def test_an_audit_that_cannot_be_written_stops_nobody(world: World) -> None:
    await world.database.execute("DROP TABLE audit")
    await world.audit.record(Deed("user:root", "unix", "pid 1", "sessions_remove", status=200))


async def test_local_users_who_may_only_look_have_the_scope_read(database: Database) -> None:
    world = World(database, readers=("binta",))
    may_look, may_all = Peer(UNIX, "pid 1", "user:binta"), Peer(UNIX, "pid 2", "user:awa")
    assert (world.call(peer=may_look).scope, world.call(peer=may_all).scope) == (Scope.READ, Scope.ADMIN)
    made = await world.tokens.create(TokenRequest(name="one", scope=Scope.OPERATE), "user:root")
    assert world.call(made.secret, may_look).scope is Scope.OPERATE
