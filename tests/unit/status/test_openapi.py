"""The OpenAPI document: complete, closed in itself, and readable."""

from collections.abc import Iterator
from typing import Any

from services.status.openapi import calls, document
from shared.errors import ImageError
from shared.schemas.api import error_codes

DOCUMENT = document(public_url="https://shop.example", needs_keys=True)


def refs(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from ([node["$ref"]] if "$ref" in node else [])
        node = list(node.values())
    for child in node if isinstance(node, list | tuple) else ():
        yield from refs(child)


def test_every_reference_leads_somewhere() -> None:
    components = DOCUMENT["components"]
    parts = {f"#/components/{kind}/{name}" for kind in ("schemas", "headers", "examples") for name in components[kind]}

    assert set(refs(DOCUMENT)) <= parts


def test_each_table_is_about_known_calls() -> None:
    assert calls.RESPONSES.keys() | calls.LISTED.keys() == calls.CALLS.keys()
    assert calls.PARAMETERS.keys() | calls.MORE.keys() <= calls.CALLS.keys()


def test_every_shape_is_used() -> None:
    used = set(refs(DOCUMENT))

    assert {name for name in DOCUMENT["components"]["schemas"] if f"#/components/schemas/{name}" not in used} == set()


def test_every_error_code_of_an_image_is_named() -> None:
    assert {"dns_failure", "http_status", "worker_lost", "expired", "codec_crashed"} <= error_codes(ImageError)


def test_both_names_of_the_webhook_option_are_listed_with_all_options() -> None:
    create = DOCUMENT["paths"]["/v1/requests"]["post"]
    by_query = {one["name"] for one in create["parameters"]}

    for names in (by_query, *(DOCUMENT["components"]["schemas"][shape]["properties"] for shape in ("Form", "Upload"))):
        assert {"webhook_url", "webhookUrl"} <= set(names)


def test_every_upload_may_be_answered_a_second_time() -> None:
    for path, status in (("/v1/requests", "202"), ("/upload", "200"), ("/api/upload-csv/", "202")):
        headers = DOCUMENT["paths"][path]["post"]["responses"][status]["headers"]
        assert set(headers) == {"Location", "Retry-After", "Idempotent-Replayed", *calls.RATES}


def test_every_call_that_needs_a_key_says_so() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            assert ({"401", "403"} <= set(operation["responses"])) == (not path.startswith("/files/"))


def test_every_refusal_is_told_where_it_may_occur() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            answers, needs_key = operation["responses"], not path.startswith("/files/")
            assert "Retry-After" in answers["429"]["headers"]
            assert "421" in answers
            told = " ".join(answer["description"] for answer in answers.values())
            assert "`too_many_at_once`" in told
            assert ("`rate_limited`" in told, "`too_many_unknown_keys`" in told) == (needs_key, needs_key)
            assert ("`cross_site`" in told) == (method != "get")
            charged = method == "post" and ("upload" in path or path.endswith(("/requests", "/retry")))
            assert ("`quota_used_up`" in told) == charged
            after_the_key = {status for status in answers if status not in {"401", "403", "421"}}
            rated = {status for status, answer in answers.items() if "RateLimit" in answer.get("headers", {})}
            assert rated == (after_the_key if needs_key else set())


def test_a_key_is_optional_only_where_keys_are_off() -> None:
    assert DOCUMENT["security"] == [{"apiKey": []}]
    off = document(public_url="https://shop.example", needs_keys=False)
    assert off["security"] == [{"apiKey": []}, {}]


def test_the_file_of_a_form_is_described_as_a_file() -> None:
    for shape in ("Form", "OlderForm"):
        file = DOCUMENT["components"]["schemas"][shape]["properties"]["file"]
        assert file["contentMediaType"] == "application/octet-stream"


def test_the_older_contracts_describe_no_option_that_they_ignore() -> None:
    for path in ("/upload", "/api/upload-csv/"):
        content = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]
        shapes = [one["schema"]["$ref"].rpartition("/")[2] for one in content.values() if "schema" in one]
        assert shapes == ["OlderForm", "OlderUpload"]
        for shape in shapes:
            assert "validate_only" not in DOCUMENT["components"]["schemas"][shape]["properties"]


def test_an_event_of_the_stream_is_described_as_one() -> None:
    stream = DOCUMENT["paths"]["/v1/requests/{request_id}/events"]["get"]["responses"]["200"]["content"]
    assert stream["text/event-stream"]["schema"] == {"$ref": "#/components/schemas/Event"}
