"""What every command has: the screen, the client, and errors turned into lines that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from os import environ
from shlex import quote
from typing import Annotated
from urllib.parse import urlsplit
from uuid import UUID

import typer

from halftone_client.cli import amounts, exits
from halftone_client.cli.exits import Failed, fail
from halftone_client.cli.screen import WARN, Screen
from halftone_client.client import Client
from halftone_client.errors import HalftoneError, NoEvents, Refused, Unreachable
from halftone_client.transport import NoTls, pause

DEFAULT_URL = "http://127.0.0.1:8080"
BUSY = frozenset({429, 502, 503, 504})
WHILE_WATCHING = 600.0
"""Seconds for which the service may be away while a request is followed."""

Url = Annotated[str, typer.Option("--url", envvar="HALFTONE_URL", help="Address of the service.", show_default=True)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
RequestId = Annotated[str, typer.Argument(metavar="ID", help="The request's id, or the address of its page.")]


class Session:
    """One command's run against one service."""

    def __init__(self, url: str, *, as_json: bool = False) -> None:
        self.url = url
        self.screen = Screen(as_json=as_json)
        self.interrupted: tuple[str, ...] = ("Interrupted.",)
        """What Ctrl-C says: how to go on from here."""
        self._said = ""

    @cached_property
    def client(self) -> Client:
        """The key comes from the environment alone: other users of the machine see a command's arguments."""
        key = environ.get("HALFTONE_API_KEY", "").strip() or None
        return Client(self.url, key=key, patience=60, away=8, pause=self._pause)

    def again(self, command: str) -> str:
        """A command to type, for the same service."""
        return f"halftone {command}" + (
            f" --url {quote(self.url)}" if self.url != environ.get("HALFTONE_URL", DEFAULT_URL) else ""
        )

    def be_patient(self) -> None:
        """From now on a service that goes away is waited for."""
        self.client.be_patient(patience=WHILE_WATCHING, away=WHILE_WATCHING)

    def _pause(self, seconds: float, because: HalftoneError) -> None:
        text = f"{_sentence(because)} Trying again"
        if text != self._said and not isinstance(because, NoEvents):
            self.screen.say(WARN, f"{text}{f' in {amounts.seconds(seconds)}' if seconds >= 5 else ''}.")
            self._said = text
        pause(seconds, because)

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Errors of the client and Ctrl-C as ends of the command."""
        try:
            yield
        except KeyboardInterrupt:
            fail(*self.interrupted, code=exits.INTERRUPTED)
        except Refused as refusal:
            raise _refused(refusal, self) from None
        except NoTls as error:
            fail(
                _sentence(error),
                "Check the address; SSL_CERT_FILE names the file of certificates to trust.",
                code=exits.AWAY,
            )
        except Unreachable as error:
            todo = f"Is it running there? `{self.again('doctor')}` looks closer; --url or HALFTONE_URL names another."
            fail(_sentence(error), todo, code=exits.AWAY)
        except HalftoneError as error:
            fail(_sentence(error))
        except BrokenPipeError:
            raise
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            fail(f"{name}{error.strerror or error}")


def _refused(refusal: Refused, session: Session) -> Failed:
    wait = f"Try again in {amounts.seconds(refusal.retry_after)}." if refusal.retry_after else "Try again later."
    what, code = refusal.detail, exits.REFUSED
    todo: tuple[str, ...] = ()
    match refusal.status:
        case 401:
            given = bool(environ.get("HALFTONE_API_KEY"))
            what = "The API key in HALFTONE_API_KEY is not valid." if given else "The service requires an API key."
            todo = ("Set HALFTONE_API_KEY=ht_…; the operator makes one with `make key NAME=shop`.",)
        case 403:
            todo = ("The operator makes another key with `make key NAME=shop SCOPES=read,write`.",)
        case 404 if refusal.code == "not_found" and not urlsplit(session.url).path.strip("/"):
            todo = (f"`{session.again('list')}` shows the requests of your account.",)
        case 404 | 405:
            what, todo = f"{session.url} does not look like Halftone: {what}", ("Check --url or HALFTONE_URL.",)
        case 422 if refusal.code == "idempotency_key_reused":
            what, todo = (
                "The file was changed while it was uploaded before.",
                ("--new sends it as it is now.",),
            )
        case 415:
            todo = ("Save it as CSV (UTF-8), with the columns S. No., Product Name, Input Image Urls.",)
        case status if status in BUSY:
            todo, code = (wait,), exits.AWAY
    return Failed(what, *todo, code=code)


def _sentence(error: HalftoneError) -> str:
    text = str(error).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def id_of(text: str) -> str:
    """The id in what a person copied: the id, or an address of the request or of its page."""
    parts = urlsplit(text.strip())
    path = parts.fragment or parts.path
    found = path.rstrip("/").partition("requests/")[2].partition("/")[0] or path.strip("/")
    try:
        return str(UUID(found))
    except ValueError:
        fail(f"{text!r} is no id of a request.", "`halftone list` shows the requests of your account.")
