"""The pages below /docs/problems/: what a problem `type` stands for, what happened and what to do.

They are whole without scripts, and one small style sheet is all that they ask for.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from html import escape

import orjson
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from services.status.problems.registry import IMAGE_ERRORS, PROBLEM_TYPES, ROW_ERRORS, Explained, ProblemType, example
from shared.http.problems import TITLES

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · Halftone</title>
<link rel="icon" href="/app/mark.svg">
<link rel="stylesheet" href="/docs/problems.css">
</head>
<body>
<header><nav aria-label="Documentation"><a class="mark" href="/">Halftone</a><a href="/docs">API</a>\
<a href="/docs/problems/">Problems</a><a href="/docs/problems/row-errors">Rows</a>\
<a href="/docs/problems/image-errors">Images</a></nav></header>
<main>
{body}
</main>
</body>
</html>
"""
INDEX = """<h1>Problems</h1>
<p class="lead">Every error answer is a problem document (<code>application/problem+json</code>, RFC 9457). Its \
<code>type</code> leads to one of these pages, and its <code>code</code> is the name for programs.</p>
<p>The errors of the rows of a manifest are on <a href="/docs/problems/row-errors">a page of their own</a>, and so are \
those of <a href="/docs/problems/image-errors">single images</a>.</p>
"""
ROWS = """<h1>Row errors</h1>
<p class="lead">What can be wrong with a manifest: <code>errors</code> of the answer, each with <code>row</code> (data \
rows from 1), <code>line</code>, <code>column</code> and <code>url_index</code> (from 1).</p>
<p>An upload with one of them stores nothing (422 <a href="/docs/problems/invalid_manifest"><code>invalid_manifest\
</code></a>), unless it is sent with <code>on_invalid=skip</code>.</p>
"""
IMAGES = """<h1>Image errors</h1>
<p class="lead">Why an image failed: its <code>error.code</code>. The other images of its request are not affected.</p>
<p><code>POST /v1/requests/{id}/retry</code> runs the failed images of a finished request again.</p>
"""
LONGEST_NAME = 100
UNKNOWN = """<h1>No such problem</h1>
<p class="lead">No problem of this server is called <code>{name}</code>.</p>
<p>The code may be misspelt, or of another version. Here are <a href="/docs/problems/">all problems</a>, and those of \
<a href="/docs/problems/row-errors">rows</a> and of <a href="/docs/problems/image-errors">images</a>.</p>
{meant}
"""


def get_page(http_request: HttpRequest) -> Response:
    """The index, or the page of a code; for another name a page that leads on, because a person reads it."""
    name = http_request.path_params.get("name", "")
    page = PAGES.get(name)
    return HTMLResponse(page or _unknown(name), 200 if page else 404, HEADERS)


def _page(title: str, body: str) -> str:
    return PAGE.format(title=escape(title), body=body)


def _prose(text: str) -> str:
    """Escaped, with `code` and [links](/below/this/server)."""
    found = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    return re.sub(r"\[([^]]+)\]\((/[\w/#-]+)\)", r'<a href="\2">\1</a>', found)


def _index() -> str:
    parts = [INDEX]
    for status in sorted({known.status for known in PROBLEM_TYPES.values()}):
        items = [
            f'<li><a href="/docs/problems/{code}"><code>{code}</code><span>{_prose(known.title)}</span></a></li>'
            for code, known in PROBLEM_TYPES.items()
            if known.status == status
        ]
        parts.append(f'<h2>{status} {TITLES[status]}</h2>\n<ul class="codes">\n' + "\n".join(items) + "</ul>")
    return _page("Problems", "\n".join(parts))


def _problem(code: str, known: ProblemType) -> str:
    shown = orjson.dumps(example(code), option=orjson.OPT_INDENT_2).decode()
    return _page(
        f"{known.title} ({code})",
        f'<p class="code"><b>{known.status}</b> <code>{code}</code></p>\n<h1>{_prose(known.title)}</h1>\n'
        f"<h2>What happened</h2>\n<p>{_prose(known.happened)}</p>\n<h2>What to do</h2>\n<p>{_prose(known.to_do)}</p>\n"
        f"<h2>What the answer says</h2>\n<pre><code>{escape(shown, quote=False)}</code></pre>",
    )


def _list(head: str, title: str, known: Mapping[str, Explained]) -> str:
    sections = [
        f'<section id="{code}">\n<p class="code"><code>{code}</code></p>\n<h2><a href="#{code}">{_prose(one.title)}</a>'
        f"</h2>\n<p>{_prose(one.happened)}</p>\n<p><b>What to do.</b> {_prose(one.to_do)}</p>\n</section>"
        for code, one in known.items()
    ]
    return _page(title, head + "\n".join(sections))


def _unknown(name: str) -> str:
    shown = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"
    like = get_close_matches(shown, WHERE, n=5)
    links = "\n".join(f'<li><a href="{WHERE[code]}"><code>{code}</code></a></li>' for code in like)
    meant = f'<h2>Perhaps you meant</h2>\n<ul class="codes">\n{links}</ul>' if links else ""
    return _page("No such problem", UNKNOWN.format(name=escape(shown), meant=meant))


WHERE = {
    **{code: f"/docs/problems/row-errors#{code}" for code in ROW_ERRORS},
    **{code: f"/docs/problems/image-errors#{code}" for code in IMAGE_ERRORS},
    **{code: f"/docs/problems/{code}" for code in PROBLEM_TYPES},
}
PAGES = {
    "": _index(),
    "row-errors": _list(ROWS, "Row errors", ROW_ERRORS),
    "image-errors": _list(IMAGES, "Image errors", IMAGE_ERRORS),
    **{code: _problem(code, known) for code, known in PROBLEM_TYPES.items()},
}
ROUTES = [Route(path, get_page) for path in ("/docs/problems", "/docs/problems/", "/docs/problems/{name}")]
