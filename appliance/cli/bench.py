"""`amda bench …`: rehearsals with figures, on a staging network of their own. WhatsApp itself is never contacted.

Progress goes to standard error, the result to standard output; the exit status is 1 if a figure was not reached.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from typing import Annotated, Any, NoReturn, Protocol

import msgspec
import typer

from appliance.bench.media_choices import Disturbance, MediaStore
from appliance.language import _, known

app = typer.Typer(help="Rehearsals with figures, on a staging network of their own.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Keep = Annotated[bool, typer.Option("--keep", help="Keep logs and stores after a success as well.")]
Store = Annotated[MediaStore, typer.Option(help="Where media is stored; s3: a MinIO server of its own.")]
MemoryLimit = Annotated[
    str, typer.Option(help="Memory for everything together, for example 2G; needs root. Empty: no limit.")
]


class Result(Protocol):
    @property
    def passed(self) -> bool: ...


def carry_out(rehearsal: Coroutine[Any, Any, Result], as_json: bool) -> None:
    """Run a rehearsal, print its result, and exit with 1 if it did not pass."""
    from appliance.bench.rig import BenchError
    from appliance.client import ClientError
    from appliance.embedded import EmbeddedError
    from appliance.logging import configure_logging
    from appliance.staging.errors import StagingError

    configure_logging("error", "console")  # to standard error; the processes that come and go are part of the play
    expected = (BenchError, ClientError, EmbeddedError, StagingError, TimeoutError)
    try:
        result = asyncio.run(rehearsal)
    except expected as error:
        _give_up(error)
    except ExceptionGroup as group:  # of many sessions at once, some could not
        known, unknown = group.split(expected)
        if known is None or unknown is not None:
            raise
        first: Exception = known
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        _give_up(first)
    values = msgspec.to_builtins(result)
    if as_json:
        print(json.dumps(values))
    else:
        width = max(map(len, values))
        for name, value in values.items():
            print(f"{name:<{width}}  {value}")
        print(_("passed") if result.passed else _("NOT passed"))
    if not result.passed:
        raise typer.Exit(1)


def _limit(text: str) -> int:
    """Bytes; 0: none."""
    from appliance.cli.storage import parse_size

    return parse_size(text) if text else 0


def _give_up(error: Exception) -> NoReturn:
    words = _("the rehearsal could not be carried out: {why}")
    print(words.format(why=known(str(error)) or type(error).__name__), file=sys.stderr)
    raise typer.Exit(1) from None


@app.command("first-light")
def first_light(as_json: Json = False, keep: Keep = False) -> None:
    """Link two sessions, receive one of every kind, restart the daemon, and read everything back from the store."""
    from appliance.bench import first_light as bench

    carry_out(bench.run(keep=keep), as_json)


@app.command()
def crash(
    kills: Annotated[int, typer.Option(min=1, max=1000, help="How often something is killed.")] = 50,
    seed: Annotated[int, typer.Option(help="Makes moments and targets repeatable.")] = 1,
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Kill -9 the worker, the daemon, or both, while messages arrive; prove that nothing is lost and nothing twice."""
    from appliance.bench import crash as bench

    carry_out(bench.run(kills=kills, seed=seed, keep=keep), as_json)


@app.command()
def fleet(
    sessions: Annotated[int, typer.Option(min=1, max=500, help="How many sessions.")] = 60,
    store: Store = MediaStore.FOLDER,
    memory_limit: MemoryLimit = "",
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Memory, CPU, cold start and healing of a whole fleet with the shipped settings."""
    from appliance.bench import fleet as bench

    rehearsal = bench.run(sessions=sessions, store=store, memory_limit=_limit(memory_limit), keep=keep)
    carry_out(rehearsal, as_json)


@app.command()
def chaos(
    sessions: Annotated[int, typer.Option(min=1, max=500, help="How many sessions.")] = 60,
    minutes: Annotated[float, typer.Option(min=0.5, max=600, help="How long things go wrong.")] = 5.0,
    seed: Annotated[int, typer.Option(help="Makes kinds, moments and targets repeatable.")] = 1,
    store: Store = MediaStore.FOLDER,
    memory_limit: MemoryLimit = "",
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Let everything go wrong at random while messages and media flow; prove that nothing is lost and all are back."""
    from appliance.bench import chaos as bench

    limit = _limit(memory_limit)
    rehearsal = bench.run(sessions=sessions, minutes=minutes, seed=seed, store=store, memory_limit=limit, keep=keep)
    carry_out(rehearsal, as_json)


@app.command()
def pairing(
    users: Annotated[int, typer.Option(min=1, max=500, help="How many ask at the same moment.")] = 60,
    disturb: Annotated[
        bool, typer.Option("--disturb", help="Kill the daemon twice, restart Redis, and drop 10 % of the sockets.")
    ] = False,
    cycles: Annotated[
        int, typer.Option(min=0, max=1000, help="Instead: so often a failed attempt, a right one, and unlinking.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Makes roles, delays and failures repeatable.")] = 1,
    store: Store = MediaStore.FOLDER,
    memory_limit: MemoryLimit = "",
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Everybody wants to be linked at once; prove that every code shown works, and who types right is linked."""
    from appliance.bench import pairing as bench
    from appliance.bench import pairing_cycles

    limit = _limit(memory_limit)
    if cycles:
        again = pairing_cycles.run(cycles=cycles, seed=seed, store=store, memory_limit=limit, keep=keep)
        carry_out(again, as_json)
    else:
        at_once = bench.run(users=users, disturbed=disturb, seed=seed, store=store, memory_limit=limit, keep=keep)
        carry_out(at_once, as_json)


@app.command()
def media(
    sessions: Annotated[int, typer.Option(min=1, max=500, help="How many sessions.")] = 60,
    items: Annotated[int, typer.Option(min=1, max=1000, help="Statuses for each of them.")] = 20,
    store: Store = MediaStore.FOLDER,
    disturb: Annotated[Disturbance, typer.Option(help="What goes wrong meanwhile.")] = Disturbance.NONE,
    memory_limit: MemoryLimit = "",
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Everybody's contacts post photos, videos and recordings at once; prove that each is stored once and whole."""
    from appliance.bench import media as bench

    limit = _limit(memory_limit)
    rehearsal = bench.run(
        sessions=sessions, items=items, store=store, disturbance=disturb, memory_limit=limit, keep=keep
    )
    carry_out(rehearsal, as_json)


@app.command()
def tui(
    sessions: Annotated[int, typer.Option(min=1, max=2000, help="How many sessions it shows.")] = 60,
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """What the terminal interface costs: time, CPU, bytes and memory, in a real pseudo-terminal of 120 × 40."""
    from appliance.bench import tui as bench

    carry_out(bench.run(sessions=sessions, keep=keep), as_json)


@app.command()
def api(
    subscribers: Annotated[int, typer.Option(min=10, max=1200, help="Subscribers of events at any moment.")] = 1000,
    requests: Annotated[int, typer.Option(min=10, max=2000, help="Reads a second.")] = 500,
    seconds: Annotated[float, typer.Option(min=5, max=3600, help="How long it is measured.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Makes reads, drops and pauses repeatable.")] = 1,
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Let a thousand subscribers follow events that really occur, drop and come back, while others read."""
    from appliance.bench import api as bench

    rehearsal = bench.run(subscribers=subscribers, requests_per_s=requests, duration_s=seconds, seed=seed, keep=keep)
    carry_out(rehearsal, as_json)


@app.command()
def isolation(
    sessions: Annotated[int, typer.Option(min=3, max=500, help="How many sessions; two of them misbehave.")] = 60,
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Let one session's process spin and another one leak; measure what the others notice of it."""
    from appliance.bench import isolation as bench

    carry_out(bench.run(sessions=sessions, keep=keep), as_json)


@app.command()
def storage(
    objects: Annotated[int, typer.Option(min=20_000, max=1_000_000, help="Objects in the index.")] = 100_000,
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Look at a full storage and prune ten thousand objects of it, in a real MinIO (AMDA_TEST_MINIO or on PATH)."""
    from appliance.bench import storage as bench

    carry_out(bench.run(objects=objects, keep=keep), as_json)
