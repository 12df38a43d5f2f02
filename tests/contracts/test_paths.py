"""The table of paths and methods, the routes of the two services, and the OpenAPI document say the same."""

import re
from collections.abc import Iterable

import pytest
from starlette.routing import Route

from services.ingest import account_routes as account_writes
from services.ingest import routes as ingest_routes
from services.status import account_routes, docs, events, files, page, routes
from services.status.openapi import document
from services.status.problems import pages
from shared.http.paths import METHODS, scope_of

URL = "https://shop.example"
INGEST = [*ingest_routes.ROUTES, *account_writes.ROUTES]
STATUS = [*routes.ROUTES, *events.ROUTES, *files.ROUTES, *account_routes.ROUTES]
DOCS = [*pages.ROUTES, *docs.routes(public_url=URL, needs_keys=True), *page.ROUTES]
UNDESCRIBED = {"/status/{request_id}/", "/api/check-status/{request_id}"}  # other spellings, kept for old clients


def test_the_table_is_what_the_two_services_answer() -> None:
    assert _methods([*INGEST, *STATUS, *DOCS]) == {path: set(methods) for path, methods in METHODS.items()}


def test_the_gateway_finds_every_method_at_the_service_it_asks() -> None:
    assert {method for methods in _methods(INGEST).values() for method in methods} == {"POST", "DELETE"}
    assert {method for methods in _methods([*STATUS, *DOCS]).values() for method in methods} == {"GET", "HEAD"}


def test_the_openapi_document_describes_each_of_them() -> None:
    described = {
        path.replace("{request_id}/out/{name}", "{key:path}"): {method.upper() for method in methods}
        for path, methods in document(public_url=URL, needs_keys=True)["paths"].items()
    }
    left_out = UNDESCRIBED | {route.path for route in DOCS}
    assert described == {path: set(known) - {"HEAD"} for path, known in METHODS.items() if path not in left_out}


def _methods(routes: Iterable[Route]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for route in routes:
        found.setdefault(route.path, set()).update(route.methods or ())
    return found


PUBLIC = {route.path for route in DOCS} | {"/files/{key:path}"}
BY_METHOD = {"GET": "read", "HEAD": "read", "POST": "write", "DELETE": "write"}
KEPT_FOR_ADMINS = re.compile(r"/v1/(keys|audit|account/signing-secret)\b.*")


def test_every_call_has_the_scope_that_a_key_needs_for_it() -> None:
    found = {(method, path): scope_of(method, path) for path, methods in METHODS.items() for method in methods}
    expected = {
        (method, path): None if path in PUBLIC else "admin" if KEPT_FOR_ADMINS.fullmatch(path) else BY_METHOD[method]
        for path, methods in METHODS.items()
        for method in methods
    }
    assert found == expected


@pytest.mark.parametrize(
    "path", ["//", "/nowhere", "/docsx", "/app", "/v1/app/", "/files", "//files/x", "/v1/keysx", "/DOCS"]
)
def test_a_path_that_nobody_listed_needs_a_key(path: str) -> None:
    assert scope_of("GET", path) == "read"


def test_a_method_that_no_call_has_needs_any_key_and_gets_its_405() -> None:
    assert scope_of("PATCH", "/v1/requests") == ""
