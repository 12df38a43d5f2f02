"""Hundreds of hostile URLs, redirects and DNS answers: nothing inside is dialled, and all have one answer."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from services.ingest.options import read_options
from shared import urls
from shared.addresses import Address, is_public
from shared.egress import Egress, connection, resolver
from shared.errors import ImageError
from shared.http.problems import Problem
from shared.urls import REFUSED, Target, refusal
from tests.integration.shared.hostile import REDIRECTS, Canaries, Hostile, canaries
from tests.origin import Origin, redirect


@dataclass
class Scene:
    """An origin that is allowed, canaries that are not, a resolver of our own, and a record of what is dialled."""

    origin: Origin
    egress: Egress
    canaries: Canaries
    hostile: Hostile
    dialled: list[tuple[Address, int]] = field(default_factory=list)
    seconds: float = 60.0

    def fetch(self, asked: list[str]) -> list[object]:
        """A hundred at a time: more than any batch has, and the origin has a thread for each."""
        outcomes = list[object]()
        for begin in range(0, len(asked), 100):
            some = asked[begin : begin + 100]
            ended = self.egress.fetch_all(some, deadline_seconds=self.seconds, max_bytes=1_000_000)
            found = {one.position: one.outcome for one in ended}
            outcomes += [found[index] for index in range(len(some))]
        return outcomes

    def post(self, url: str) -> object:
        try:
            return self.egress.post(url, body=b"{}", headers=dict, deadline_seconds=60, max_response_bytes=100)
        except ImageError as error:
            return error

    def dialled_inside(self) -> list[tuple[Address, int]]:
        allowed = ("127.0.0.1", self.origin.port)
        return [pair for pair in self.dialled if not (is_public(pair[0]) or (str(pair[0]), pair[1]) == allowed)]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with Origin() as origin, canaries({"127.0.0.1": 0}) as first:
        port = first.listeners[0].getsockname()[1]
        with canaries({"127.0.0.2": port, "::1": port, "127.0.0.3": origin.port}) as others:
            watched = Canaries([*first.listeners, *others.listeners])
            scene = Scene(origin, Egress([origin.place]), watched, Hostile(port))
            # The canaries' port counts as one of the web, so that addresses and names alone keep us from them.
            monkeypatch.setattr(urls, "WEB_PORTS", urls.WEB_PORTS | {port})
            monkeypatch.setattr(socket, "getaddrinfo", scene.hostile.getaddrinfo)
            dial = connection._connect

            async def recorded(target: Target, address: Address, tls: object) -> connection.Connection:
                scene.dialled.append((address, target.port))
                if not address.is_loopback:
                    raise ConnectionRefusedError
                return await dial(target, address, tls)  # type: ignore[arg-type]

            monkeypatch.setattr(connection, "_connect", recorded)
            yield scene
            scene.egress.close()


def answers(outcomes: list[object]) -> set[tuple[str, str, bool]]:
    """Code, text and speed class (whether it is tried again) of each."""
    return {(error.code, error.detail, error.transient) for error in outcomes if isinstance(error, ImageError)}


BLOCKED = {("blocked_url", REFUSED, False)}
NO_SUCH_NAME = {("dns_failure", REFUSED, True)}


def test_images_of_hostile_urls_are_not_fetched(scene: Scene) -> None:
    asked = scene.hostile.urls()
    assert len(asked) >= 500
    outcomes = scene.fetch(asked)
    assert [url for url, outcome in zip(asked, outcomes, strict=True) if not isinstance(outcome, ImageError)] == []
    assert answers(outcomes) == BLOCKED
    assert (scene.dialled, scene.canaries.connections(), scene.hostile.asked) == ([], 0, {})


def test_images_of_names_that_lead_inside_are_not_fetched(scene: Scene) -> None:
    asked = scene.hostile.names()
    assert len(asked) >= 200
    outcomes = scene.fetch(asked)
    assert len(outcomes) == len(asked)
    assert answers(outcomes) == NO_SUCH_NAME
    assert (scene.dialled, scene.canaries.connections()) == ([], 0)
    assert set(scene.hostile.asked.values()) == {1}, "each is looked up once, whether it exists or not"


def test_redirects_of_every_kind_to_hostile_urls_are_not_followed(scene: Scene) -> None:
    absolute = [url for url in scene.hostile.urls() if url.startswith(("http://", "https://")) and "\r" not in url]
    to = [url for url in (*absolute, *scene.hostile.names()) if url != "http://"]  # which leads back
    to += [
        f"//127.0.0.1:{scene.hostile.port}/",
        "//[::1]/",
        "\thttp://127.0.0.1/",
        "ftp://shop.example/",
        "/" + "x" * 2048,
    ]
    asked = [
        scene.origin.on(f"/{number}", redirect(url.encode().decode("latin-1"), code=REDIRECTS[number % len(REDIRECTS)]))
        for number, url in enumerate(to)
    ]
    asked += [scene.origin.on(f"/twice{number}", redirect(f"/{number}")) for number in range(20)]
    assert len(asked) >= 500
    outcomes = scene.fetch(asked)
    assert [outcome for outcome in outcomes if not isinstance(outcome, ImageError)] == []
    assert answers(outcomes) == BLOCKED | NO_SUCH_NAME
    assert (scene.dialled_inside(), scene.canaries.connections()) == ([], 0)


def test_webhooks_to_hostile_urls_and_names_are_not_posted(scene: Scene) -> None:
    by_form, by_name = scene.hostile.urls(), scene.hostile.names()
    assert len(by_form) + len(by_name) >= 500
    assert answers([scene.post(url) for url in by_form]) == BLOCKED
    assert answers([scene.post(url) for url in by_name]) == NO_SUCH_NAME
    assert (scene.dialled, scene.canaries.connections()) == ([], 0)


def test_a_webhooks_redirect_is_an_answer_and_not_followed(scene: Scene) -> None:
    for code in REDIRECTS:
        url = scene.origin.on(f"/{code}", redirect(f"http://127.0.0.1:{scene.hostile.port}/", code=code))
        assert getattr(scene.post(url), "status_code", None) == code
    assert scene.canaries.connections() == 0


@pytest.mark.parametrize("kind", ["image", "webhook"])
def test_names_that_lead_inside_after_they_were_judged_are_not_dialled_there(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(resolver, "KEEP_SECONDS", 0.0)
    asked = scene.hostile.rebinding()
    first, second = (scene.fetch(asked) if kind == "image" else list(map(scene.post, asked)) for _ in range(2))
    assert {error.code for error in first if isinstance(error, ImageError)} <= {"connect_failure", "dns_failure"}
    assert answers(second) == NO_SUCH_NAME
    assert scene.dialled
    assert (scene.dialled_inside(), scene.canaries.connections()) == ([], 0)


def test_webhooks_of_a_hostile_form_are_refused_at_upload(scene: Scene) -> None:
    asked = scene.hostile.urls()
    assert len(asked) >= 500
    reasons = set()
    for url in asked:
        with pytest.raises(Problem) as refused:
            read_options({"webhook_url": url}, allow=(scene.origin.place,))
        assert refused.value.status == 422
        if not refusal(url):  # it says what is wrong with the text alone
            reasons.add(Target.parse(url).blocked((scene.origin.place,)))
    assert reasons == {REFUSED}


def test_the_canaries_would_notice(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they see if nothing is judged."""
    for module in (urls, resolver):
        monkeypatch.setattr(module, "is_public", lambda _: True)
    port, scene.seconds = scene.hostile.port, 0.5  # they take the connection and never answer
    scene.fetch([f"http://127.0.0.1:{port}/", f"http://127.0.0.2:{port}/", scene.hostile.names()[0]])
    assert scene.canaries.connections() >= 3
    assert len(scene.dialled_inside()) >= 3
