"""The options of an upload."""

from typing import Any

import pytest

from services.ingest.options import OnInvalid, Options, read_options
from shared.http.problems import Problem
from shared.recipe import Mode, Recipe, TargetFormat


def read(allow: tuple[str, ...] = (), **given: Any) -> Options:
    return read_options(given, allow=allow)


def test_defaults() -> None:
    assert read() == Options(recipe=Recipe(), webhook_url=None, on_invalid=OnInvalid.REJECT)
    assert read(quality="", mode=" ", format=None, max_side="", webhook_url="", on_invalid="") == read()


def test_all_of_them_as_text() -> None:
    options = read(
        quality="95", mode="bytes", format="AVIF", max_side="1", webhook_url="https://a.example/", on_invalid="skip"
    )
    assert options.recipe == Recipe(quality=95, mode=Mode.BYTES, format=TargetFormat.AVIF, max_side=1)
    assert (options.webhook_url, options.skip) == ("https://a.example/", True)


def test_text_and_number_mean_the_same() -> None:
    assert read(quality="50").normalised() == read(quality=50, mode="absolute").normalised() == read().normalised()


def test_older_spelling_of_the_webhook() -> None:
    assert read(webhookUrl="https://a.example/").webhook_url == "https://a.example/"
    assert read(webhookUrl="https://a.example/", webhook_url="https://b.example/").webhook_url == "https://b.example/"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quality", "0"),
        ("quality", 96),
        ("quality", "-1"),
        ("quality", "fifty"),
        ("quality", 50.5),
        ("quality", "50.0"),
        ("quality", True),
        ("quality", "\N{SUPERSCRIPT TWO}"),
        ("quality", "9" * 5000),
        ("mode", "best"),
        ("mode", 1),
        ("mode", ["absolute"]),
        ("format", "gif"),
        ("max_side", "0"),
        ("max_side", 65536),
        ("on_invalid", "ignore"),
        ("webhook_url", "ftp://a.example/"),
        ("webhook_url", "https://user@a.example/"),
        ("webhook_url", 5),
        ("webhook_url", "http://127.0.0.1:9001/"),
        ("webhook_url", "http://localhost:9001/"),
        ("webhook_url", "http://hooks.example.com:25/"),
        ("webhook_url", "http://hooks.internal/"),
        ("webhook_url", "http://169.254.169.254/latest"),
        ("webhook_url", "http://[::ffff:10.0.0.1]/"),
        ("webhook_url", "http://2130706433/"),
    ],
)
def test_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(Problem, match=name) as refused:
        read(**{name: value})
    assert (refused.value.status, refused.value.code) == (422, "invalid_option")


def test_a_webhook_to_this_service_itself_is_refused() -> None:
    given = {"webhook_url": "http://127.0.0.1:8080/v1/requests"}
    with pytest.raises(Problem) as refused:
        read_options(given, allow=("127.0.0.1:8080",), public_url="http://127.0.0.1:8080")
    assert refused.value.status == 422
    assert refused.value.detail.endswith("It is this service's own address.")
    assert read_options(given, allow=("127.0.0.1:8080",), public_url="http://127.0.0.1:9090").webhook_url


def test_allowed_pairs_are_let_through() -> None:
    assert read(allow=("127.0.0.1:9000",), webhook_url="http://127.0.0.1:9000/hook").webhook_url
    assert read(allow=("localhost:80",), webhook_url="http://localhost/hook").webhook_url


def test_an_unknown_name_is_refused_but_not_by_the_older_contracts() -> None:
    with pytest.raises(Problem, match="'qualitty'; the options are quality") as refused:
        read(qualitty="60")
    assert (refused.value.status, refused.value.code) == (422, "unknown_option")
    assert read_options({"qualitty": "60", "validate_only": "maybe"}, allow=(), older=True) == Options()


@pytest.mark.parametrize("value", ["ftp://a.example/", "http://", "https://a b/"])
def test_why_a_webhook_url_is_refused_is_a_sentence_of_its_own(value: str) -> None:
    with pytest.raises(Problem) as refused:
        read(webhook_url=value)
    assert refused.value.detail.startswith(f"The option webhook_url is refused; it was {value!r}. The URL")
    assert refused.value.detail.endswith(".")
    assert ".;" not in refused.value.detail
