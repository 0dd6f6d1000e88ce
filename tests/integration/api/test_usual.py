"""What back ends and their HTTP libraries take for granted: conditions, ranges, HEAD, repeats, limits with an end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from appliance.api.gatekeeper import leads_elsewhere
from appliance.client import ApiError, ApplianceClient
from appliance.database import Database
from appliance.events import EventBus
from appliance.model_access import Door
from appliance.model_api import Scope
from appliance.model_storage import CleanupReport, JobState, PruneRequest, StorageJob
from appliance.redis_server import RedisServer
from tests.integration.api.test_doors import Doors, open_doors
from tests.integration.daemon.rig import DATA, HeldUp


@pytest.fixture
async def doors(tmp_path: Path, database: Database, bus: EventBus, redis_server: RedisServer) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path, database, bus) as opened:
        yield opened


async def test_a_stored_file_is_asked_for_as_any_other(doors: Doors) -> None:
    await doors.rig.capture("one", "M0")
    [item] = [item async for item in doors.client.all_media()]
    url, size = f"/v1/media/{item.id}/content", str(len(DATA))
    async with doors.http(await doors.token(Scope.READ)) as http:
        async with http.head(url) as response:
            assert (response.status, response.headers["Content-Length"], await response.read()) == (200, size, b"")
            tag = response.headers["ETag"]
        async with http.head(url, headers={"Range": "bytes=0-9"}) as response:
            assert (response.status, response.headers["Content-Range"]) == (206, f"bytes 0-9/{size}")
        for condition, status, length in (
            ({"If-None-Match": tag}, 304, 0),
            ({"If-None-Match": f'"other", W/{tag}'}, 304, 0),
            ({"If-None-Match": '"other"'}, 200, len(DATA)),
            ({"Range": "bytes=0-9", "If-Range": tag}, 206, 10),
            ({"Range": "bytes=0-9", "If-Range": '"other"'}, 200, len(DATA)),
            ({"Range": "bytes=0-1,5-6"}, 200, len(DATA)),
        ):
            async with http.get(url, headers=condition) as response:
                assert (response.status, len(await response.read())) == (status, length), condition
        async with http.head("/v1/events") as response:
            assert response.status == 405, "a stream without end has no size"


async def test_who_asks_too_often_is_told_when_to_come_back(
    tmp_path: Path, database: Database, bus: EventBus, redis_server: RedisServer
) -> None:
    async with open_doors(tmp_path, database, bus, api_requests_per_s="1", api_burst="3") as doors:
        token = await doors.token(Scope.READ)
        async with doors.http(token) as http:
            for _ in range(30):  # on a machine that is busy, one more is let in each second
                async with http.get("/v1/version") as response:
                    problem = await response.json(content_type=None)
                if response.status == 429:
                    break
            assert (response.status, response.headers["Retry-After"]) == (429, "1")
            assert problem["remedy"]
        assert await doors.status(await doors.token(Scope.OPERATE), "GET", "/v1/version") == 200, (
            "each token has its own"
        )


async def test_linking_anew_is_begun_once_under_one_key(doors: Doors) -> None:
    for session in ("anna", "bob"):
        await doors.client.create_session(session)
    token, body = await doors.token(Scope.OPERATE), {"method": "qr"}
    async with doors.http(token, **{"Idempotency-Key": "4712"}) as http:
        async with http.post("/v1/sessions/anna/relink", json=body) as response:
            first = await response.json()
            assert (response.status, first["session"]) == (202, "anna")
        await doors.client.cancel_pairing(first["id"])
        async with http.post("/v1/sessions/anna/relink", json=body) as response:
            again = await response.json()
            assert (response.status, response.headers["Idempotent-Replayed"]) == (202, "true")
            assert (again["id"], again["state"]) == (first["id"], "cancelled")
        async with http.post("/v1/sessions/bob/relink", json=body) as response:
            assert response.status == 422, "the key belongs to anna's"


async def test_events_of_several_kinds(doors: Doors) -> None:
    for kind in ("media.stored", "session.state", "alert.down", "media.pruned"):
        await doors.rig.bus.publish(kind)
    token, seen = await doors.token(Scope.READ), []
    async with doors.http(token) as http, http.get("/v1/events?after=0&type=alert&type=media") as response:
        while len(seen) < 3:
            line = await response.content.readline()
            seen += [line.split()[1].decode()] if line.startswith(b"event:") else []
    assert seen == ["media.stored", "alert.down", "media.pruned"]


async def test_a_subscriber_that_leaves_leaves_nothing_behind(doors: Doors) -> None:
    """Not even for the garbage collection: that would hold up everybody else."""
    token = await doors.token(Scope.READ)
    await doors.rig.bus.publish("media.stored")
    gc.collect()
    gc.disable()
    try:
        async with doors.http(token) as http:
            for _ in range(3):
                async with http.get("/v1/events?after=0") as response:
                    await response.content.readline()
        assert followed()
        async with asyncio.timeout(10):
            while followed():
                await doors.rig.bus.nudge()
                await asyncio.sleep(0)
    finally:
        gc.enable()


def followed() -> list[web.Request]:
    """Requests for events that the server still knows of, alive or not."""
    return [one for one in gc.get_objects() if isinstance(one, web.Request) and one.path == "/v1/events"]


async def test_a_session_is_called_something_else(doors: Doors) -> None:
    await doors.client.create_session("anna", "Anna")
    assert (await doors.client.rename_session("anna", "Anna B.")).name == "Anna B."
    token = await doors.token(Scope.OPERATE)
    for body, status in (({"name": ""}, 400), ({"name": "x" * 81}, 400), ({"title": "x"}, 400), ({}, 200)):
        assert await doors.status(token, "PATCH", "/v1/sessions/anna", body) == status
    assert (await doors.client.session("anna")).name == "Anna B."


async def cleaned(doors: Doors, *, dry_run: bool) -> CleanupReport:
    await doors.client.clean_storage(dry_run=dry_run)
    async with asyncio.timeout(15):
        while True:
            job = await doors.client.storage_job()
            assert job is not None
            if job.state is not JobState.RUNNING:
                break
            await asyncio.sleep(0.02)
    assert (job.kind, job.error) == ("cleanup", "")
    assert job.cleanup is not None
    return job.cleanup


async def test_the_storage_is_cleaned_up(doors: Doors) -> None:
    """What nothing refers to goes, what is lost leaves the index; a dry run tells the same and changes nothing."""
    for number in range(2):
        await doors.rig.capture("one", f"M{number}", DATA + bytes([number]))
    lost, kept = [item async for item in doors.client.all_media()]
    folder = doors.rig.settings.storage.path
    (folder / lost.key).unlink()
    stray = (folder / kept.key).with_name("0123456789abcdef" * 2 + ".png")
    stray.write_bytes(b"stray")
    for dry_run in (True, False):
        report = await cleaned(doors, dry_run=dry_run)
        assert (report.dry_run, report.check.missing, report.check.strays) == (dry_run, 1, 1)
        assert stray.exists() == dry_run
    assert [item.id async for item in doors.client.all_media()] == [kept.id]
    assert (await doors.client.removals())[0].media == lost.id
    assert await doors.status(await doors.token(Scope.OPERATE), "POST", "/v1/storage/cleanup", {}) == 403
    with pytest.raises(ApiError):
        await doors.client.media_item(lost.id)


@pytest.mark.parametrize(
    "path",
    ["/v1/media/..", "/v1/media/../x", "/v1/%2e%2e/x", "/v1/%252e%252e%252fx", "/v1/..;a=b/x", "/v1/a%5cb", "/v1/a%0db",
     "/v1//x", "/v1/%c0%ae%c0%ae/x", "/v1/./x"],
)  # fmt: skip
def test_paths_that_lead_elsewhere(path: str) -> None:
    assert leads_elsewhere(path)


@pytest.mark.parametrize("path", ["/", "/v1/media/a-b_c", "/v1/media/..a", "/v1/history.csv", "/v1/a...b", "/v1/é"])
def test_paths_that_do_not(path: str) -> None:
    assert not leads_elsewhere(path)


async def pruned(client: ApplianceClient) -> StorageJob:
    """The prune's job, once it has ended."""
    while True:
        job = await client.prune_job()
        assert job is not None
        if job.state is not JobState.RUNNING:
            return job
        await asyncio.sleep(0.02)


async def test_a_prune_is_followed_and_stopped(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch is held up on its way to the store: the job says how far it is, refuses a second one, and can be
    stopped; a token that may only read may look."""
    for number in range(3):
        await doors.rig.capture("one", f"M{number}", DATA + bytes([number]))
    deletion = HeldUp(doors.rig.media, monkeypatch)
    assert await doors.client.prune_job() is None
    begin = await doors.client.begin_prune(PruneRequest(session="one"))
    async with asyncio.timeout(15):
        await deletion.begun.wait()
        under_way = await doors.client.prune_job()
        with pytest.raises(ApiError, match="A prune of the storage is under way"):
            await doors.client.begin_prune(PruneRequest())
        reader = await doors.token(Scope.READ)
        assert await doors.status(reader, "GET", "/v1/storage/prune/job") == 200
        assert await doors.status(reader, "DELETE", "/v1/storage/prune/job") == 403
        assert await doors.status(reader, "POST", "/v1/storage/prune/job", {}) == 403
        await doors.client.stop_prune()
        deletion.go_on.set()
        job = await pruned(doors.client)
    assert under_way is not None
    assert (under_way.id, under_way.kind, under_way.done, under_way.total) == (begin.id, "prune", 0, 3)
    assert under_way.size_total == 3 * (len(DATA) + 1)
    assert job.prune is not None
    assert (job.state, job.done, job.prune.objects, job.prune.stopped) == (JobState.DONE, 1, 1, True)
    assert (await doors.client.status()).media_count == 2


async def test_a_token_of_one_session_follows_and_stops_what_it_has_begun(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, own, looks = (
        "/v1/storage/prune/job",
        await doors.token(Scope.OPERATE, "one"),
        await doors.token(Scope.READ, "one"),
    )
    others = [
        await doors.token(Scope.OPERATE, "two"),
        (await doors.client.create_token("b", Scope.OPERATE, session="one")).secret,
    ]
    for number in range(3):
        await doors.rig.capture("one", f"M{number}", DATA + bytes([number]))
    await doors.rig.capture("two", "N", DATA + b"two")
    deletion = HeldUp(doors.rig.media, monkeypatch)
    for method in ("GET", "DELETE"):
        assert await doors.status(own, method, job) == 404, "nobody has begun one"
    assert await doors.status(own, "POST", job, {"session": "two"}) == 403
    async with ApplianceClient(doors.rig.socket, own) as client, asyncio.timeout(15):
        begun = await client.begin_prune(PruneRequest())
        assert begun.session == "one", "narrowed to its session"
        await deletion.begun.wait()
        for other in others:
            for method in ("GET", "DELETE"):
                assert await doors.status(other, method, job) == 404
        assert (await doors.status(looks, "GET", job), await doors.status(looks, "DELETE", job)) == (404, 403)
        followed = await client.prune_job()
        assert followed is not None
        assert (followed.id, followed.state, followed.total) == (begun.id, JobState.RUNNING, 3)
        await client.stop_prune()
        deletion.go_on.set()
        ended = await pruned(client)
        assert ended.prune is not None
        assert (ended.done, ended.prune.stopped) == (1, True)
        await doors.client.begin_prune(PruneRequest(session="one"))
        for method in ("GET", "DELETE"):
            assert await doors.status(own, method, job) == 404, "somebody else has begun this one"
    assert (await doors.client.prune_job()) is not None


async def test_who_calls_is_told_what_they_may(doors: Doors) -> None:
    local = await doors.client.caller()
    assert (local.door, local.scope, local.session) == (Door.UNIX, Scope.ADMIN, None)
    assert local.who.startswith("user:")
    token = await doors.token(Scope.READ, "anna")
    async with ApplianceClient(doors.rig.socket, token) as client:
        found = await client.caller()
        assert (found.who, found.scope, found.session) == ("token:read anna", Scope.READ, "anna")
        with pytest.raises(ApiError, match="needs the scope operate"):
            await client.start_session("anna")
    assert await doors.status(None, "GET", "/v1/caller") == 401
