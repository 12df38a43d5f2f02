"""Every answer has an example, and every example is what its schema says."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import pytest
from standardwebhooks import Webhook

from services.status.openapi import document
from services.status.openapi.examples import EXAMPLES
from services.status.problems.registry import PROBLEM_TYPES
from tests.openapi import differences

DOCUMENT = document(public_url="https://shop.example", needs_keys=True)
COMPONENTS = DOCUMENT["components"]


def resolved(node: dict[str, Any]) -> Any:
    if "$ref" not in node:
        return node
    _, _, kind, name = node["$ref"].split("/")
    return COMPONENTS[kind][name]


def answers() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each answer of each call, with its name."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                yield f"{method} {path} {status}", answer


def bodies() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, answer in answers():
        for media_type, content in answer.get("content", {}).items():
            yield f"{name} {media_type}", content


def orders() -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON bodies that calls take, and that of the webhook."""
    for path, methods in (DOCUMENT["paths"] | DOCUMENT["webhooks"]).items():
        for method, operation in methods.items():
            if content := operation.get("requestBody", {}).get("content", {}).get("application/json"):
                yield f"{method} {path}", content


def shown(content: dict[str, Any]) -> list[Any]:
    one = [content["example"]] if "example" in content else []
    return one + [resolved(example)["value"] for example in content.get("examples", {}).values()]


def test_every_answer_that_has_a_body_has_an_example() -> None:
    assert [name for name, content in (*bodies(), *orders()) if not shown(content)] == []


def test_every_header_has_an_example() -> None:
    headers = [(name, resolved(header)) for name, answer in answers() for header in answer.get("headers", {}).values()]

    assert headers
    assert [name for name, header in headers if "example" not in header] == []
    for _, header in headers:
        jsonschema_rs.validate(header["schema"], header["example"])


@pytest.mark.parametrize(("name", "content"), [*bodies(), *orders()], ids=[name for name, _ in (*bodies(), *orders())])
def test_every_example_is_what_its_schema_says(name: str, content: dict[str, Any]) -> None:
    validator = jsonschema_rs.Draft202012Validator({**content["schema"], "components": COMPONENTS})

    for example in shown(content):
        assert [error.message for error in validator.iter_errors(example)] == []


def test_every_shape_is_shown_with_all_its_fields() -> None:
    for name, content in bodies():
        shape = resolved(content["schema"])
        if "application/json" in name:
            assert any(example.keys() == shape["properties"].keys() for example in shown(content)), name


def test_the_signature_that_is_shown_is_that_of_the_body_and_the_secret_that_are_shown() -> None:
    """Signed again: `verify` refuses what is older than five minutes."""
    (shown,) = EXAMPLES["Delivery"].values()
    headers = shown["attempts"][0]["request_headers"]
    sent = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    webhook = Webhook(EXAMPLES["SigningSecret"]["rotated"]["signing_secret"])
    assert webhook.sign(headers["webhook-id"], sent, shown["body"]) == headers["webhook-signature"]
    assert json.loads(shown["body"]) == EXAMPLES["WebhookEvent"]["completed"]


def test_a_request_links_to_every_call_that_reads_something_of_it() -> None:
    one = "/v1/requests/{request_id}"
    reads = {path for path, methods in DOCUMENT["paths"].items() if path.startswith(one) and "get" in methods}
    request = EXAMPLES["Request"]["completed"]

    links = {link.replace(request["links"]["self"], one) for link in request["links"].values()}

    assert reads - links == {f"{one}/images/{{number}}/source"}
    assert links <= reads


def test_a_problem_is_shown_where_its_status_is() -> None:
    for name, answer in answers():
        status = int(name.split()[-1])
        for code, example in answer.get("content", {}).get("application/problem+json", {}).get("examples", {}).items():
            value = resolved(example)["value"]
            assert (value["code"], value["status"], value["type"]) == (code, status, f"/docs/problems/{code}")
            assert PROBLEM_TYPES[code].status == status or (status, "upload" in name) == (400, True)


def test_every_problem_of_a_call_is_shown_somewhere() -> None:
    told = {code for _, content in bodies() for code in content.get("examples", {})}

    assert PROBLEM_TYPES.keys() - told == {"internal_error", "http_error", "method_not_allowed"}


@pytest.mark.parametrize(
    ("example", "answer", "found"),
    [
        ({"a": 1}, {"a": 2.5}, []),
        ({"a": None}, {"a": {"b": 1}}, []),
        ({"a": [{"b": 1}]}, {"a": []}, []),
        ({"a": 1}, {"a": "1"}, ["$.a: number, not string"]),
        ({"a": 1}, {"b": 1}, ["$: has not a, has b"]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1}, {}]}, ["$.a[1]: has not b, has "]),
    ],
)
def test_shapes_are_compared(example: Any, answer: Any, found: list[str]) -> None:
    assert list(differences(example, answer)) == found
