"""Documentation that can be checked is checked: what it names must exist, and what exists must be named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance import __version__, model, model_api

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
ROUTE_TABLE = re.compile(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/\S+)` \|", re.MULTILINE)
ROUTE_CODE = re.compile(r'web\.(get|post|put|patch|delete)\(\s*(?:f?"([^"]+)"|([A-Z_]+))')


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
    table = re.findall(r"^\| `(?:GET|POST|DELETE).*$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    names = {name for line in table for name in re.findall(r"`([A-Z][A-Za-z]+)`", line) if name != "Range"}
    assert {name for name in names if not (hasattr(model, name) or hasattr(model_api, name))} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_changelog_knows_this_version() -> None:
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
