"""/openapi.json and /docs: the API for programs and for readers, both made once at start."""

from html import escape
from typing import Any

import orjson
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from services.status.openapi import document

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h3 { margin: 2rem 0 .25rem; } code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
.method { display: inline-block; min-width: 4.5rem; font-weight: 700; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
td { border-top: 1px solid #8884; padding: .25rem .75rem .25rem 0; vertical-align: top; }
td:first-child { width: 12rem; } .older { opacity: .7; }
details pre { overflow-x: auto; padding: .75rem; background: #8881; }
"""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
Json = dict[str, Any]


def routes(*, public_url: str) -> list[Route]:
    described = document(public_url=public_url)
    as_json, as_page = orjson.dumps(described), page(described)

    def get_openapi(_: HttpRequest) -> Response:
        return Response(as_json, media_type="application/json", headers={"Cache-Control": "no-cache"})

    def get_docs(_: HttpRequest) -> Response:
        return HTMLResponse(as_page, headers=HEADERS)

    return [Route("/openapi.json", get_openapi), Route("/docs", get_docs)]


def page(described: Json) -> str:
    """The document as one page of HTML without script."""
    calls = [(tag["name"], tag["description"], _calls(described["paths"], tag["name"])) for tag in described["tags"]]
    sections = "".join(f"<h2>{escape(name)}</h2><p>{escape(text)}</p>{found}" for name, text, found in calls)
    shapes = "".join(map(_shape, *zip(*described["components"]["schemas"].items(), strict=True)))
    title, text = escape(described["info"]["title"]), _prose(described["info"]["description"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title} API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>{title} API</h1><p>{text}</p>"
        '<p>For programs: <a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1).</p>'
        f"{sections}<h2>shapes</h2>{shapes}</html>"
    )


def _calls(paths: Json, tag: str) -> str:
    return "".join(
        _call(path, method, call)
        for path, methods in paths.items()
        for method, call in methods.items()
        if tag in call["tags"]
    )


def _call(path: str, method: str, call: Json) -> str:
    parameters = [(item["name"], f"{item['in']}. {_prose(item['description'])}") for item in call.get("parameters", [])]
    media_types = call.get("requestBody", {}).get("content", {})
    bodies = [(media_type, _shape_link(body["schema"])) for media_type, body in media_types.items()]
    answers = [(status, _answer(found)) for status, found in call["responses"].items()]
    style = ' class="older"' if call.get("deprecated") else ""
    return (
        f'<h3 id="{call["operationId"]}"{style}>'
        f'<code><span class="method">{method.upper()}</span>{escape(path)}</code></h3>'
        f"<p>{_prose(call['summary'])}.</p>{_table(parameters + bodies)}{_table(answers)}"
    )


def _answer(found: Json) -> str:
    links = [_shape_link(body["schema"]) for body in found.get("content", {}).values()]
    return " ".join([_prose(found["description"]), *dict.fromkeys(links)])


def _shape_link(schema: Json) -> str:
    name = schema.get("$ref", "").rsplit("/", 1)[-1]
    return f'<a href="#shape-{name}">{name}</a>' if name else ""


def _shape(name: str, schema: Json) -> str:
    text = escape(orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode())
    return f'<details id="shape-{name}"><summary>{name}</summary><pre>{text}</pre></details>'


def _table(rows: list[tuple[str, str]]) -> str:
    cells = (f"<tr><td><code>{escape(name)}</code></td><td>{text}</td></tr>" for name, text in rows)
    return f"<table>{''.join(cells)}</table>" if rows else ""


def _prose(text: str) -> str:
    """Escaped, with `code` between backticks."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))
