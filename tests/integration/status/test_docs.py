"""The API's own description over HTTP."""

import re

import httpx
import pytest

from tests.integration.status.conftest import PUBLIC_URL


def test_openapi_is_served_for_programs(client: httpx.Client) -> None:
    answer = client.get("/openapi.json")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["openapi"].startswith("3.1")
    assert answer.json()["servers"] == [{"url": PUBLIC_URL}]


def test_docs_are_served_for_people_with_all_that_the_page_asks_for(client: httpx.Client) -> None:
    page = client.get("/docs")
    types = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert client.head("/docs").content == b""
    named = re.findall(r'="(/docs/[^"]+(\.\w+))"', page.text)
    assert named
    for path, suffix in named:
        asset = client.get(path)
        assert asset.headers["content-type"] == types[suffix]
        assert asset.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "name", ["", "none.js", "..%2fdocs.py", "../docs.py", "swagger-ui", "%00", "app/app.js", "vendor/lit/README.md"]
)
def test_no_other_file_is_served(client: httpx.Client, name: str) -> None:
    assert client.get(f"/docs/{name}").status_code == 404


def test_a_problem_s_type_leads_to_a_page_that_explains_it(client: httpx.Client) -> None:
    problem = client.get("/v1/requests/none").json()
    page = client.get(problem["type"])

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';")
    assert "What to do" in page.text
    assert client.head(problem["type"]).status_code == 200
    assert "text/css" in client.get("/docs/problems.css").headers["content-type"]


def test_there_is_an_index_of_problems(client: httpx.Client) -> None:
    assert client.get("/docs/problems").text == client.get("/docs/problems/").text


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("dns_failur", "/docs/problems/image-errors#dns_failure"),
        ("nul-byte", "/docs/problems/row-errors#nul_byte"),
        ("conflicts", "/docs/problems/conflict"),
    ],
)
def test_an_unknown_problem_leads_to_those_with_a_like_name(client: httpx.Client, name: str, meant: str) -> None:
    page = client.get(f"/docs/problems/{name}")

    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert f'href="{meant}"' in page.text
    assert 'href="/docs/problems/"' in page.text


def test_an_unknown_problem_s_name_is_shown_as_text_and_not_whole(client: httpx.Client) -> None:
    page = client.get("/docs/problems/" + "<img src=x>{meant}" + "x" * 2000)

    assert page.status_code == 404
    assert "&lt;img src=x&gt;{meant}xxx" in page.text
    assert "x" * 101 not in page.text
