"""Documentation that can be checked is checked: what it names must exist, and what exists must be named."""

from __future__ import annotations

import functools
import importlib
import re
from pathlib import Path

import pytest
import typer.main

from appliance import __version__
from appliance.cli.app import build

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
MODELS = [importlib.import_module(f"appliance.{path.stem}") for path in (ROOT / "appliance").glob("model*.py")]
ROUTE_TABLE = re.compile(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/\S+)` \|", re.MULTILINE)
ROUTE_CODE = re.compile(r'^ +(?:return \()?(get|post|put|patch|delete)\(\s*(?:"([^"]+)"|([A-Z_]+))', re.MULTILINE)
COMMAND = re.compile(r"(?:\.venv/bin/|[`\"': ])amda ([a-z]+(?:-[a-z]+)*)(?: ([a-z]+(?:-[a-z]+)*))?")
"""A command as a reader would type it: after a blank, a quote or the folder, in lower case."""
COMING: frozenset[str] = frozenset()
"""Commands that remedies in the code name already and that come with their own issues; this set only shrinks."""


def declared_routes() -> set[tuple[str, str]]:
    """Method and path of every route in `appliance/api/`; paths that are constants are looked up."""
    routes = set()
    for path in (ROOT / "appliance" / "api").glob("*.py"):
        text = path.read_text()
        constants = dict(re.findall(r'^([A-Z_]+)(?:: \w+)? = "([^"]+)"', text, re.MULTILINE))
        routes |= {(verb.upper(), literal or constants[name]) for verb, literal, name in ROUTE_CODE.findall(text)}
    return routes


def test_every_route_is_documented_and_no_other() -> None:
    documented = set(ROUTE_TABLE.findall((ROOT / "docs" / "api.md").read_text()))
    assert documented == declared_routes()
    assert len(documented) > 10, "the patterns of this test still find routes"


def test_every_named_body_exists() -> None:
    table = re.findall(r"^\| `(?:GET|POST|PUT|DELETE).*$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    names = {name for line in table for name in re.findall(r"`([A-Z][A-Za-z]+)`", line) if name != "Range"}
    assert {name for name in names if not any(hasattr(module, name) for module in MODELS)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


@functools.cache
def commands() -> dict[str, frozenset[str] | None]:
    """The program's commands, and the commands below each; None where there are none."""
    top: dict[str, object] = vars(typer.main.get_command(build()))["commands"]
    below = {name: vars(command).get("commands") for name, command in top.items()}
    return {name: None if subs is None else frozenset(subs) for name, subs in below.items()}


def unknown_commands(text: str) -> set[str]:
    """Commands of `amda` that the text names and the program does not have."""
    unknown = set()
    for name, sub in COMMAND.findall(text):
        subs = commands().get(name, frozenset())
        if name not in commands():
            unknown.add(name)
        elif sub and subs is not None and sub not in subs:
            unknown.add(f"{name} {sub}")
    return unknown


def test_finds_unknown_commands() -> None:
    assert unknown_commands("run `amda frobnicate` and .venv/bin/amda session dance, then amda status") == {
        "frobnicate",
        "session dance",
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_commands_that_exist(page: Path) -> None:
    code = "\n".join(re.findall(r"```.*?```|`[^`]+`", page.read_text(), re.DOTALL))
    assert unknown_commands(code) == set()


def test_remedies_name_commands_that_exist() -> None:
    sources = [path for package in ("appliance", "tui") for path in (ROOT / package).rglob("*.py")]
    unknown = {command for path in sources for command in unknown_commands(path.read_text())}
    assert {command for command in unknown if " " not in command} <= COMING, "in prose, any word may follow a command"


def test_remedies_of_prometheus_name_commands_that_exist() -> None:
    """Here a command ends with its line or at a comma, so that a second word is one of its own."""
    rules = (ROOT / "provisioning" / "monitoring" / "alerts.yaml").read_text()
    named = re.findall(r"remedy: amda ([a-z]+)(?: ([a-z]+))?(?=[,;\n])", rules)
    assert named
    for name, below in named:
        assert name in commands(), name
        assert not below or below in (commands()[name] or ()), f"{name} {below}"


def test_changelog_knows_this_version() -> None:
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
