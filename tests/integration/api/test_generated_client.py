"""A client for another language, generated from the description that the appliance serves, does what a back end does.

It is made by a public generator (npm packages, pinned by a lock file) and checked by the TypeScript compiler.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.bench.rig import Rig
from appliance.minio_server import free_port
from appliance.model_api import Scope
from appliance.staging import control_types as ct

CLIENT = Path(__file__).parent / "client"
PHONE = "221771000007"
CONTACT = "221772000007"
INSTALL_S = 120
RUN_S = 150
LINES_BYTES = 1 << 20
OPTIONS = ("--default-non-nullable", "false")
"""A field that has a default may be left out of a request."""
NO_NETWORK = ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN")
"""How npm says that it reaches nobody."""

needs_npm = pytest.mark.skipif(
    shutil.which("npm") is None or shutil.which("node") is None, reason="node and npm are not installed here"
)


@pytest.fixture
def workshop(tmp_path: Path) -> Path:
    """The client's folder with the generator and the compiler in it; skips the test where npm reaches no registry."""
    folder = tmp_path / "client"
    shutil.copytree(CLIENT, folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S)
    if found.returncode and any(
        word in found.stderr for word in ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN")
    ):
        pytest.skip("npm packages cannot be fetched here: no network")
    assert found.returncode == 0, found.stderr
    return folder


async def run(folder: Path, *command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def steps(process: asyncio.subprocess.Process) -> AsyncIterator[tuple[str, object]]:
    assert process.stdout is not None
    async for line in process.stdout:
        told = json.loads(line)
        yield told["step"], told["value"]


@needs_npm
@pytest.mark.npm
@pytest.mark.staging
@pytest.mark.timeout(INSTALL_S + RUN_S + 60)
async def test_a_generated_client_links_a_session_and_fetches_a_picture(workshop: Path) -> None:
    port = free_port()
    async with Rig(variables={"AMDA_API_LISTEN": f"127.0.0.1:{port}"}) as rig, asyncio.timeout(RUN_S):
        url = f"http://127.0.0.1:{port}"
        described = workshop / "openapi.json"
        await run(workshop, "curl", "-sSf", f"{url}/v1/openapi.json", "-o", str(described))
        await run(workshop, "node_modules/.bin/openapi-typescript", str(described), "-o", "schema.d.ts", *OPTIONS)
        await run(workshop, "node_modules/.bin/tsc")

        await rig.staging.add_account(ct.AddAccount(phone=PHONE))
        token = (await rig.api.create_token("back end", Scope.OPERATE)).secret
        process = await asyncio.create_subprocess_exec(
            *("node", "use.js", url, token, "anna", f"+{PHONE}"), cwd=workshop, stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"]}, limit=LINES_BYTES,
        )  # fmt: skip
        told: dict[str, object] = {}
        try:
            async for step, value in steps(process):
                told[step] = value
                if step == "code":
                    await rig.staging.type_code(PHONE, str(value))
                if step == "paired":
                    await rig.staging.wait_online(PHONE)
                    await rig.staging.send(
                        ct.Send(account=PHONE, contact=CONTACT, kind=ct.SendKind.IMAGE, where=ct.Where.STATUS)
                    )
            assert await process.wait() == 0, told
        finally:
            if process.returncode is None:
                process.kill()
        picture = told["picture"]
        assert isinstance(picture, dict)
        stored = b"".join([piece async for piece in rig.api.media_content(picture["id"])])
        assert picture["sha256"] == hashlib.sha256(stored).hexdigest()
        assert picture["bytes"] == len(stored) > 1000
        assert (told["created"], told["paired"], told["refused"]) == (["anna", "anna"], "linked", 403)
        deeds = [entry.action async for entry in rig.api.all_audit(who="back end")]
        assert deeds == ["tokens_create", "pairings_request", "sessions_create", "sessions_create"]
