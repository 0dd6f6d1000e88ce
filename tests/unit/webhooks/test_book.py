"""Which events a webhook is for, and which URLs may be one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.database import Database
from appliance.history.due_work import backoff
from appliance.model_events import EVENT_TYPES
from appliance.model_webhooks import WebhookChange, WebhookRequest
from appliance.problems import ProblemError
from appliance.webhooks.book import Webhook, WebhookBook
from appliance.webhooks.settings import WebhookSettings


def hook(events: tuple[str, ...] = (), sessions: tuple[str, ...] = (), *, enabled: bool = True) -> Webhook:
    return Webhook(
        id="a",
        url="https://user:pass@example.org/token",
        secret="whsec_x",
        events=events,
        sessions=sessions,
        enabled=enabled,
        reason="",
        created_at=0.0,
        created_by="user:root",
    )


@pytest.mark.parametrize(
    ("made", "kind", "session", "wanted"),
    [
        (hook(), "media.stored", "anna", True),
        (hook(), "storage.away", None, True),
        (hook(("media",)), "media.stored", "anna", True),
        (hook(("media.stored", "alert")), "alert.down", None, True),
        (hook(("media.stored",)), "media.pruned", None, False),
        (hook((), ("anna",)), "media.stored", "anna", True),
        (hook((), ("anna",)), "media.stored", "bob", False),
        (hook((), ("anna",)), "storage.away", None, False),
        (hook(enabled=False), "media.stored", "anna", False),
        (hook(), "webhook.disabled", None, False),
    ],
)
def test_what_it_is_for(made: Webhook, kind: str, session: str | None, wanted: bool) -> None:
    assert made.is_for(kind, session) is wanted


def test_its_secrets_are_in_no_log() -> None:
    assert "token" not in repr(hook())
    assert "whsec" not in repr(hook())


@given(st.integers(0, 200), st.floats(0, 1))
def test_pauses_grow_and_are_bounded(failures: int, chance: float) -> None:
    pause, shortest = backoff(failures, 5.0, 3600.0, chance), backoff(failures, 5.0, 3600.0, 0.0)
    assert 2.5 <= shortest <= pause <= 3600.0
    assert backoff(failures + 1, 5.0, 3600.0, 0.0) >= shortest


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "amda.db")
    yield opened
    await opened.close()


def book_of(database: Database, **settings: object) -> WebhookBook:
    made = WebhookSettings(**settings)  # type: ignore[arg-type]
    return WebhookBook(database, lambda: made)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://LOCALHOST./x",
        "https://api.localhost/x",
        "https://10.1.2.3/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]:8443/x",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://2130706433/",
        "https://127.1/",
        "https://0x7f.1/",
        "https://user:password@192.168.0.1/",
        "https://example.org@127.0.0.1/",
        "http://example.org/",
        "https://example.org/#part",
        "https:///path",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://[broken/",
    ],
)
async def test_urls_that_are_refused(database: Database, url: str) -> None:
    book = book_of(database)
    with pytest.raises(ProblemError) as caught:
        await book.create(WebhookRequest(id="a", url=url), "me")
    assert (caught.value.problem.status, caught.value.problem.field) == (400, "url")
    assert caught.value.problem.remedy
    await book.create(WebhookRequest(id="a", url="https://example.org/"), "me")
    with pytest.raises(ProblemError):
        await book.change("a", WebhookChange(url=url))
    assert book.get("a").url == "https://example.org/"


async def test_a_private_network_can_be_allowed(database: Database) -> None:
    book = book_of(database, private_networks=("127.0.0.1", "10.0.0.0/8"))
    await book.create(WebhookRequest(id="a", url="http://127.0.0.1:3000/amda"), "me")
    await book.create(WebhookRequest(id="b", url="https://10.3.2.1/amda"), "me")
    with pytest.raises(ProblemError):
        await book.create(WebhookRequest(id="c", url="http://127.0.0.2/"), "me")
    with pytest.raises(ValueError, match="private_networks"):
        WebhookSettings(private_networks=("10.0.0.1/8",))


async def test_ids_are_unique_and_few(database: Database) -> None:
    book = book_of(database, limit=2)
    for name in ("a", "b"):
        await book.create(WebhookRequest(id=name, url="https://example.org/"), "me")
    for name in ("a", "c"):
        with pytest.raises(ProblemError) as caught:
            await book.create(WebhookRequest(id=name, url="https://example.org/"), "me")
        assert caught.value.problem.status == 409
    assert book.get("a").secret != book.get("b").secret
    again = book_of(database)
    await again.load()
    assert again.all() == book.all()
    await book.remove("a")
    for call in (book.remove("a"), book.renew_secret("a"), book.change("a", WebhookChange(enabled=False))):
        with pytest.raises(ProblemError) as caught:
            await call
        assert caught.value.problem.status == 404


async def test_misspelt_types_are_refused(database: Database) -> None:
    book = book_of(database)
    for choice in ("medias", "media.store", "webhook", "webhook.disabled"):
        with pytest.raises(ProblemError) as caught:
            await book.create(WebhookRequest(id="a", url="https://example.org/", events=[choice]), "me")
        assert caught.value.problem.field == "events"
    everything = [kind for kind in EVENT_TYPES if not kind.startswith("webhook.")]
    await book.create(WebhookRequest(id="a", url="https://example.org/", events=everything), "me")
