"""`halftone doctor`: what is up, what is not, what to do."""

import io
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from os import environ
from typing import Literal

from halftone_client.cli import amounts, exits
from halftone_client.cli.exits import Failed
from halftone_client.cli.screen import OK, WARN, WRONG
from halftone_client.cli.session import DEFAULT_URL, Json, Session, Url

SAMPLE = b"S. No.,Product Name,Input Image Urls\n1,Sample,https://example.com/sample.jpg\n"
CLOCK_TOLERANCE = 120
"""Seconds; a webhook whose time differs by five minutes is refused by its receiver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`todo`: what to do about it."""

    about: str
    state: Literal["ok", "warning", "wrong"]
    found: str
    todo: str = ""
    code: int = exits.DONE


def doctor(*, url: Url = DEFAULT_URL, json: Json = False) -> int:
    """Look at the service from here: address, key, uploads, clock."""
    session = Session(url, as_json=json)
    screen, findings = session.screen, list[Finding]()
    for finding in _findings(session):
        findings.append(finding)
        if screen.as_json:
            continue
        if screen.is_plain:
            screen.plain(finding.about, finding.state, finding.found, finding.todo)
        else:
            mark, colour = {"ok": OK, "warning": WARN, "wrong": WRONG}[finding.state]
            screen.out.print(f"[{colour}]{mark}[/] [bold]{finding.about:<10}[/]", end="", markup=True)
            screen.show(finding.found)
            if finding.todo:
                screen.show(f"             {finding.todo}")
    if screen.as_json:
        screen.json([asdict(finding) for finding in findings])
    return max(finding.code for finding in findings)


def _findings(session: Session) -> Iterator[Finding]:
    """Ends at the first part without which the others cannot work."""
    for look in (_service, _account, _uploads, _requests):
        try:
            with session.failures():
                yield from look(session)
        except Failed as failure:
            todo = " ".join(failure.lines[1:])
            if failure.code == exits.AWAY and look is _service:
                todo = "Start it with `make start` in its checkout, or name another address with --url or HALFTONE_URL."
            yield Finding(about=ABOUT[look], state="wrong", found=failure.lines[0], todo=todo, code=failure.code)
            return


def _service(session: Session) -> Iterator[Finding]:
    session.client.be_patient(patience=0, away=0)
    headers, took = session.client.health()
    yield Finding(about="Service", state="ok", found=f"{session.url} answers in {took * 1000:.0f} ms")
    try:
        behind = (datetime.now(UTC) - parsedate_to_datetime(headers["date"])).total_seconds()
    except (KeyError, ValueError, TypeError):
        return
    if abs(behind) > CLOCK_TOLERANCE:
        side = "ahead of" if behind > 0 else "behind"
        how = f"this machine's clock is {amounts.seconds(abs(behind))} {side} the service's"
        yield Finding(about="Clock", state="warning", found=how, todo="Webhooks received here will not verify.")
    else:
        yield Finding(about="Clock", state="ok", found="agrees with the service's")


def _account(session: Session) -> Iterator[Finding]:
    account = session.client.account()
    scopes = ", ".join(account["scopes"])
    if account["key_id"] is None:
        unused = ", HALFTONE_API_KEY is not needed" if environ.get("HALFTONE_API_KEY") else ""
        yield Finding(about="Account", state="ok", found=f"{account['name']}; no key is required{unused}")
        return
    found = f"{account['name']}, with key ht_{account['key_id']} ({scopes})"
    missing = [scope for scope in ("read", "write") if scope not in account["scopes"]]
    if missing:
        todo = f"It lacks {' and '.join(missing)}: `make key NAME={account['name']} SCOPES=read,write` makes another."
        yield Finding(about="Account", state="warning", found=found, todo=todo)
    else:
        yield Finding(about="Account", state="ok", found=found)


def _uploads(session: Session) -> Iterator[Finding]:
    session.client.validate(io.BytesIO(SAMPLE))
    yield Finding(about="Uploads", state="ok", found="a sample CSV is valid; nothing was stored")


def _requests(session: Session) -> Iterator[Finding]:
    waiting = next(session.client.requests(status="pending", page_size=1), None)
    running = next(session.client.requests(status="processing", page_size=1), None)
    oldest = waiting or running
    if waiting and (datetime.now(UTC) - amounts.at(waiting["created_at"])).total_seconds() > CLOCK_TOLERANCE:
        found = f"{waiting['request_id']} was accepted {amounts.ago(waiting['created_at'])} and has not started"
        todo = "Are the workers running? `make status` lists them; others' requests may be before yours."
        yield Finding(about="Requests", state="warning", found=found, todo=todo)
    else:
        yield Finding(about="Requests", state="ok", found="some are being processed" if oldest else "none is waiting")


ABOUT: dict[Callable[[Session], Iterator[Finding]], str] = {
    _service: "Service",
    _account: "Account",
    _uploads: "Uploads",
    _requests: "Requests",
}
