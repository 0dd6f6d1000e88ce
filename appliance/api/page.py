"""The readable page of the API: one HTML document without scripts, made from the OpenAPI document."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any, Final

_STYLE: Final = """
:root{color-scheme:light dark;--line:#8884;--dim:#888}
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:0 auto;padding:1rem}
code,pre{font:14px/1.45 ui-monospace,monospace}pre{overflow:auto;padding:.6rem;border:1px solid var(--line)}
summary{cursor:pointer;padding:.35rem 0}summary code{font-weight:600}
details{border-bottom:1px solid var(--line)}details>div{padding:0 0 1rem 1rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0}
td{border-top:1px solid var(--line)}.dim{color:var(--dim)}h2{margin-top:2.5rem}
"""


def render(document: dict[str, Any]) -> str:
    """The whole page."""
    info = document["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{_text(info['title'])} API {_text(info['version'])}</title><style>{_STYLE}</style>",
        f"<h1>{_text(info['title'])} API <span class=dim>{_text(info['version'])}</span></h1>",
        f"<p>{_text(info['description'])}</p>",
    ]
    for tag in document["tags"]:
        parts.append(f"<h2>{_text(tag['name'])}</h2>")
        for path, methods in document["paths"].items():
            parts += [_operation(method, path, one) for method, one in methods.items() if tag["name"] in one["tags"]]
    parts.append("<h2>Bodies</h2>")
    parts += [_struct(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return "".join(parts) + "</html>"


def _operation(method: str, path: str, one: dict[str, Any]) -> str:
    scope = one.get("x-scope", "no token needed")
    rows = [
        (f"<code>{_text(parameter['name'])}</code>", parameter["in"], _kind(parameter["schema"]),
         _text(parameter.get("description", "")))
        for parameter in one["parameters"]
    ]  # fmt: skip
    if body := one.get("requestBody"):
        rows.append(("body", "", _kind(body["content"]["application/json"]["schema"]), ""))
    for status, response in one["responses"].items():
        kinds = [
            _kind(content.get("schema", {})) or _text(media) for media, content in response.get("content", {}).items()
        ]
        rows.append((_text("error" if status == "default" else status), "answer", ", ".join(kinds),
                     _text(response["description"])))  # fmt: skip
    return (
        f"<details><summary><code>{method.upper()} {_text(path)}</code> {_text(one['summary'])}"
        f" <span class=dim>{_text(scope)}</span></summary><div><p>{_text(one.get('description', ''))}</p>{_table(rows)}"
        "</div></details>"
    )


def _struct(name: str, schema: dict[str, Any]) -> str:
    rows = [
        (f"<code>{_text(field)}</code>", "" if field in schema.get("required", []) else "optional", _kind(one),
         _text(one.get("description", "")))
        for field, one in schema.get("properties", {}).items()
    ]  # fmt: skip
    values = ", ".join(f"<code>{_text(str(value))}</code>" for value in schema.get("enum", []))
    return (
        f"<details id='{_text(name)}'><summary><code>{_text(name)}</code></summary><div>"
        f"<p>{_text(schema.get('description', ''))}</p><p>{values}</p>{_table(rows)}</div></details>"
    )


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    return "<table>" + "".join(f"<tr>{''.join(f'<td>{cell}' for cell in row)}" for row in rows) + "</table>"


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words, as HTML; named ones are links."""
    if reference := schema.get("$ref"):
        name = _text(reference.rpartition("/")[2])
        return f"<a href='#{name}'>{name}</a>"
    if options := schema.get("anyOf"):
        return " or ".join(filter(None, (_kind(option) for option in options)))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    words = [str(schema.get("type", ""))]
    words += [f"{key} {json.dumps(schema[key])}" for key in ("default", "minimum", "maximum", "maxLength", "pattern")
              if key in schema]  # fmt: skip
    return _text(", ".join(filter(None, words)))


def _text(content: str) -> str:
    return html.escape(content, quote=True).replace("\n", "<br>")
