"""One run of schemathesis against a served API, with every check, and what came of it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

RUN_S = 3000.0
JUDGED_BY_THE_APPLIANCE = {
    "/v1/alerts/rules": "a name that is no rule",
    "/v1/config": "a name that is no setting, or not its value",
    "/v1/history": "a word that is no reason of a disconnection",
    "/v1/history.csv": "as above",
    "/v1/history/stats": "as above",
    "/v1/media": "a cursor that was not given out",
    "/v1/uptime": "a number of parts that does not divide the slots",
    "/v1/pairings": "a code without a number, or a number that no country has",
    "/v1/pairings/lift": "a number that no country has",
    "/v1/sessions/{session}/relink": "as above",
    "/v1/sessions/{session}": "a proxy that is none",
    "/v1/sessions/{session}/capture": "a chat that is none",
    "/v1/storage/move": "a store that is not set up",
    "/v1/tokens": "the scope admin for one session",
    "/v1/webhooks": "a type of event that there is not, or a URL that leads into a private network",
    "/v1/webhooks/{webhook}": "as above",
    "/v1/sessions/{session}/person": "a contact that no service answers to",
}
"""Paths where a request may fit its schema and still be refused with 400, and why: no schema can say it."""
ENDLESS = ("/v1/events", "/v1/logs")
"""Their streams have no end (if it is asked for), and a client that waits for one would hang; they have tests of
their own."""


Answer = tuple[str, str, int]
"""Method, path and status."""


SUICIDE = "tokens_revoke"
"""It finds its own token in the listing, revokes it, and is refused everything from then on."""


class Outcome(NamedTuple):
    """`answers`: to every request. `failures`: what schemathesis found, as text."""

    answers: list[Answer]
    failures: list[str]

    def with_status(
        self, lowest: int, highest: int, besides: frozenset[str] = frozenset()
    ) -> list[tuple[str, str, int]]:
        """The answers in a range of statuses, those to some paths left out."""
        return [one for one in self.answers if lowest <= one[2] <= highest and one[1] not in besides]


async def run_schemathesis(
    url: str, folder: Path, *, token: str | None, examples: int, phases: str = "examples,coverage,fuzzing,stateful"
) -> Outcome:
    """`folder` gets the reports. Raises AssertionError if it could not be run."""
    report = folder / "report"
    (folder / "schemathesis.toml").write_text(_settings())
    command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "run", f"{url}/v1/openapi.json"]
    command += ["--checks", "all", "--phases", phases, "--max-examples", str(examples)]
    command += [word for path in ENDLESS for word in ("--exclude-path", path)]
    command += ["--exclude-operation-id", SUICIDE]
    command += ["--continue-on-failure", "--request-timeout", "60", "--seed", "1", "--suppress-health-check", "all"]
    command += ["--report", "json,ndjson", "--report-json-path", f"{report}.json"]
    command += ["--report-ndjson-path", f"{report}.ndjson"]
    command += [] if token is None else ["--header", f"Authorization: Bearer {token}"]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(RUN_S):
        output, _ = await process.communicate()
    assert report.with_suffix(".json").exists(), output.decode()
    found: dict[str, Any] = json.loads(report.with_suffix(".json").read_text())
    failures = [f"{one['code']} {one['title']}: {', '.join(one['operations'])}" for one in found["failures"]]
    failures += [str(error) for error in found["errors"]]
    if failures:
        failures.append(output.decode())
    return Outcome(_answers(report.with_suffix(".ndjson")), failures)


def _answers(report: Path) -> list[Answer]:
    found = []
    with report.open() as lines:
        for line in lines:
            recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
            for one in (recorder.get("interactions") or {}).values():
                request, response = one["request"], one.get("response") or {"status_code": 0}
                path = "/" + request["uri"].split("://", 1)[1].partition("/")[2].partition("?")[0]
                found.append((request["method"], path, int(response["status_code"])))
    return found


def _settings() -> str:
    """Statuses that a valid request may get: what depends on what there is, and 400 where a schema says too little. One
    that is not valid may also be too large (413)."""
    usual = ["2xx", "304", "401", "403", "404", "409", "410", "416", "422", "429"]
    more = json.dumps([*usual, "400"])
    refused = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429"]
    lines = [f"[checks.positive_data_acceptance]\nexpected-statuses = {json.dumps(usual)}\n"]
    lines += [f"[checks.negative_data_rejection]\nexpected-statuses = {json.dumps(refused)}\n"]
    lines += [
        f"[[operations]]\ninclude-path = {json.dumps(path)}\n"
        f"checks.positive_data_acceptance.expected-statuses = {more}\n"
        for path in JUDGED_BY_THE_APPLIANCE
    ]
    return "\n".join(lines)
