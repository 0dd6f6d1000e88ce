"""/metrics of a real API on real Redis and database; dashboard and alert rules are held against what it really says."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import pytest
import yaml  # comes with schemathesis
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse

from appliance.client import ApplianceClient
from appliance.database import Database
from appliance.model import SessionState
from appliance.model_api import Scope
from appliance.protocol import EngineState, Heartbeat
from tests.integration.daemon.rig import ApiRig

MONITORING: Final = Path(__file__).parents[3] / "provisioning" / "monitoring"
PHONE: Final = "221771234512"
OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
FUNCTIONS: Final = frozenset(
    {
        *("sum", "max", "min", "topk", "by", "rate", "increase", "histogram_quantile"),
        *("time", "vector", "label_values", "or", "and", "unless"),
    }
)
"""All words that our expressions use beside names and labels; another one is a typing error until it is added."""
FOREIGN: Final = frozenset({"up"})
"""What Prometheus itself makes of each scrape."""


async def scrape(rig: ApiRig, accept: str = "") -> tuple[str, str]:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(rig.socket))) as http,
        http.get("http://amda/metrics", headers={"Accept": accept} if accept else {}) as response,
    ):
        assert response.status == 200, await response.text()
        return await response.text(), response.headers["Content-Type"]


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[(name, frozenset(labels.items()))]


@pytest.fixture
async def busy(api_rig: ApiRig, database: Database) -> ApiRig:
    """Something of everything that metrics tell of."""
    async with ApplianceClient(api_rig.socket) as client:
        await client.create_session("one")
        await client.create_session("two")
    await scrape(api_rig)
    now = time.time()
    api_rig.sessions.change(
        "one", state=SessionState.ONLINE, phone="+22177······12", phone_seen_at=now, last_traffic_at=now
    )
    for session, pss, lag in (("one", 15 << 20, 0.01), ("two", 20 << 20, 0.2)):
        api_rig.sessions.beats[session] = Heartbeat(
            at=now,
            engine_state=EngineState.CONNECTED,
            loop_lag_s=lag,
            pss_bytes=pss,
            last_frame_at=now,
            last_message_at=None,
            ping_sent_at=None,
            ping_answered_at=None,
            inbox=3,
        )
    await database.execute(
        "INSERT INTO disconnections (session, generation, at, reason, raw, back_at, recovery_s)"
        " VALUES ('one', 1, ?, 'socket_closed', ?, ?, 4.0)",
        (now - 60, f"by {PHONE}", now - 56),
    )
    await database.execute(
        "INSERT INTO pairings (id, session, method, state, phone, created_at, updated_at, shown_at, ended_at)"
        " VALUES ('p', 'one', 'code', 'linked', ?, ?, ?, ?, ?)",
        (f"+{PHONE}", now - 30, now, now - 28, now),
    )
    await database.execute(
        "INSERT INTO webhooks (id, url, secret, events, sessions, enabled, created_at, created_by)"
        " VALUES ('hook', 'https://example.org/', 's', '[]', '[]', 1, ?, 'me')",
        (now,),
    )
    await database.execute(
        "INSERT INTO deliveries (id, target, body, created_at, due_at) VALUES ('d', 't', '{}', ?, ?)",
        (now - 90, now + 900),
    )
    await api_rig.capture("one", "M1")
    return api_rig


async def test_what_happened_is_in_the_figures(busy: ApiRig) -> None:
    text, media_type = await scrape(busy)
    assert media_type.startswith("text/plain")
    assert value(text, "amda_sessions", state="online") == 1
    assert value(text, "amda_sessions", state="banned") == 0
    assert value(text, "amda_session_online", session="one") == 1
    assert value(text, "amda_disconnections_total", reason="socket_closed") == 1
    assert value(text, "amda_session_disconnections_total", session="two") == 0
    assert value(text, "amda_recovery_seconds_bucket", le="5.0") == 1
    assert value(text, "amda_pairings_total", method="code", outcome="linked") == 1
    assert value(text, "amda_pairing_link_seconds_sum") == pytest.approx(30, abs=0.1)
    assert value(text, "amda_workers_pss_sum_bytes") == 35 << 20
    assert value(text, "amda_workers_pss_max_bytes") == 20 << 20
    assert value(text, "amda_workers_loop_lag_max_seconds") == 0.2
    assert value(text, "amda_workers_inbox_messages") == 6
    assert value(text, "amda_storage_objects", category="view-once") == 1
    assert value(text, "amda_storage_bytes", category="view-once") > 0
    assert value(text, "amda_storage_used_bytes") == value(text, "amda_session_storage_bytes", session="one")
    assert value(text, "amda_storage_quota_bytes") == busy.settings.storage.quota_bytes
    assert value(text, "amda_media_stored_total") == 1
    assert value(text, "amda_store_call_seconds_count", store="folder", operation="put") == 1
    assert value(text, "amda_store_failures_total", store="folder", operation="put") == 0
    assert value(text, "amda_redis_call_seconds_count") > 0
    assert value(text, "amda_alert_messages_waiting") == 1
    assert value(text, "amda_alert_messages_oldest_seconds") >= 90
    assert value(text, "amda_webhook_waiting", webhook="hook") == 0
    assert value(text, "amda_degraded", part="redis") == 0
    assert value(text, "amda_events_total") == busy.bus.last_seq


async def test_what_waits_in_the_spools_has_an_age(busy: ApiRig) -> None:
    folder = busy.settings.paths.sessions / "two" / "store" / "spool"
    folder.mkdir(parents=True)
    (folder / "item.data").write_bytes(b"x" * 1000)
    (folder / "item.json").write_bytes(b"{}")
    text, _ = await scrape(busy)
    assert value(text, "amda_spool_items") == 1
    assert value(text, "amda_spool_bytes") == 1000
    assert 0 <= value(text, "amda_spool_oldest_seconds") < 60


async def test_openmetrics_if_it_is_asked_for(busy: ApiRig) -> None:
    text, media_type = await scrape(busy, f"{OPEN_METRICS},text/plain;version=0.0.4;q=0.5")
    assert media_type.startswith("application/openmetrics-text")
    families = {family.name for family in parse_open_metrics(text)}
    assert {"amda_sessions", "amda_disconnections", "amda_recovery_seconds"} <= families
    assert "_created" not in text


@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/openmetrics-text;version=x.y", ";;,,=", "a" * 500])
async def test_whatever_is_accepted_it_can_be_read(api_rig: ApiRig, accept: str) -> None:
    text, _ = await scrape(api_rig, accept)
    assert "amda_build_info" in text


async def test_no_number_and_no_name_of_a_person_is_in_it(busy: ApiRig) -> None:
    text, _ = await scrape(busy)
    assert PHONE[:6] not in text
    assert "·" not in text
    labels = {label for _, pairs in samples(text) for label, _ in pairs}
    assert labels <= {
        *("state", "session", "reason", "method", "outcome", "category", "store", "operation", "rule", "severity"),
        *("part", "webhook", "le", "release", "python"),
    }


async def test_scrapes_at_the_same_time_count_nothing_twice(busy: ApiRig) -> None:
    texts = await asyncio.gather(*(scrape(busy) for _ in range(8)))
    for text, _ in texts:
        assert value(text, "amda_disconnections_total", reason="socket_closed") == 1
        assert value(text, "amda_pairings_total", method="code", outcome="linked") == 1


async def test_every_name_has_a_unit_and_a_help_text(busy: ApiRig) -> None:
    text, _ = await scrape(busy)
    for family in parse(text):
        assert family.name.startswith("amda_")
        assert family.documentation, family.name
        assert not re.search(r"_(ms|mib|kb|minutes|percent)(_|$)", family.name), family.name
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


async def test_it_is_for_readers_only(tmp_path: Path, database: Database, redis_server: object) -> None:
    from appliance.events import EventBus

    bus = EventBus(database, kept=10)
    await bus.load()
    async with ApiRig.open(tmp_path, database, bus, api_listen="127.0.0.1:0") as rig:
        async with ApplianceClient(rig.socket) as client:
            token = (await client.create_token("prometheus", Scope.READ)).secret
            await client.create_session("one")
            narrow = (await client.create_token("narrow", Scope.READ, session="one")).secret
        async with aiohttp.ClientSession(f"http://127.0.0.1:{rig.server.tcp.port}") as http:
            for given, status in ((None, 401), (narrow, 403), (token, 200)):
                headers = {} if given is None else {"Authorization": f"Bearer {given}"}
                async with http.get("/metrics", headers=headers) as response:
                    assert response.status == status


# ---- dashboard and alert rules


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
    return found


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    return list(group["rules"])


def expressions() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["definition"]
    for rule in rules():
        yield rule["expr"]


_STRING = re.compile(r'"[^"]*"')
_MATCHERS = re.compile(r"\{((?:[a-z_]+(?:=~|!~|!=|=)S)?(?:,[a-z_]+(?:=~|!~|!=|=)S)*)\}")
_RANGE = re.compile(r"\[\d+[smhdw]\]")
_GROUPING = re.compile(r"\b(?:by|without|on) \([a-z_, ]*\)")
_WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def names(expression: str) -> set[str]:
    """The metrics that an expression names; raises AssertionError if it is none.

    Enough of the language for what we use of it: brackets in pairs, matchers and ranges as they should be, known
    functions, and operators between operands.
    """
    rest = _STRING.sub("S", expression)
    rest = _GROUPING.sub("by", _RANGE.sub("", _MATCHERS.sub("", rest)))
    assert not set(rest) & set('{}[]"'), expression
    depth = 0
    for character in rest:
        depth += {"(": 1, ")": -1}.get(character, 0)
        assert depth >= 0, expression
    assert depth == 0, expression
    shape = re.sub(r"\bby\b", "", rest)
    shape = re.sub(r"[a-zA-Z_:][a-zA-Z0-9_:]*\s*\(", "(", shape)  # calls
    shape = re.sub(r"[a-zA-Z_:][a-zA-Z0-9_:]*|\d+(?:\.\d+)?", "v", re.sub(r"\b(?:or|and|unless)\b", "+", shape))
    shape = re.sub(r"[<>=!]=|[-+*/<>]", "+", shape).replace(" ", "")
    while (smaller := re.sub(r"\((?:v(?:,v)*)?\)|v\+v", "v", shape)) != shape:
        shape = smaller
    assert shape in ("v", "v,v"), f"{expression}: {shape}"
    words = set(_WORD.findall(rest))
    return {word for word in words if word not in FUNCTIONS} - {"instance"}


def test_the_parser_refuses_what_is_wrong() -> None:
    assert names('sum by (le) (rate(amda_x_bucket{instance=~"$i",a!="b"}[5m])) > 0.5 * amda_y') == {
        "amda_x_bucket",
        "amda_y",
    }
    for wrong in (
        "sum(amda_x",
        "amda_x{a=b}",
        'amda_x{a=~"b"',
        "amda_x[5]",
        "amda_x amda_y",
        "amda_x >",
        "rate(amda_x[5m]) * * 2",
        "sum by le (amda_x)",
    ):
        with pytest.raises(AssertionError):
            names(wrong)
    assert "rte" in names("rte(amda_x[5m])")  # which no scrape has


async def test_every_metric_that_dashboard_and_rules_name_exists(busy: ApiRig) -> None:
    text, _ = await scrape(busy)
    known = {name for name, _ in samples(text)} | {family.name for family in parse(text)} | FOREIGN
    found = list(expressions())
    assert len(found) > 60
    for expression in found:
        missing = names(expression) - known
        assert not missing, f"{expression}: {missing}"


async def test_every_label_value_that_they_name_exists(busy: ApiRig) -> None:
    """`state=~"needs_pairng"` would never alarm."""
    text, _ = await scrape(busy)
    values: dict[str, set[str]] = {}
    for _, pairs in samples(text):
        for label, one in pairs:
            values.setdefault(label, set()).add(one)
    values["severity"] = {"warning", "alert", "page"}
    for expression in expressions():
        for label, wanted in re.findall(r'([a-z_]+)(?:=~|!~|!=|=)"([^"$]*)"', expression):
            if label not in ("job", "instance"):
                assert set(wanted.split("|")) <= values[label], expression


def test_rules_say_what_to_do() -> None:
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule
        assert rule["labels"]["severity"] in ("warning", "page")
        assert rule["annotations"]["summary"].startswith("{{ $labels.instance }}: ")
        assert rule["annotations"]["remedy"]
    assert len({rule["alert"] for rule in rules()}) == len(rules())


def test_panels_have_titles_units_and_places_of_their_own() -> None:
    places: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["fieldConfig"]["defaults"]["unit"]
        place = panel["gridPos"]
        columns, lines = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells = set(itertools.product(columns, lines))
        assert not cells & places
        places |= cells
    identifiers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    assert msgspec.json.decode((MONITORING / "dashboard.json").read_bytes())
