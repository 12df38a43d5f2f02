"""`halftone status, watch, retry, cancel, list`."""

from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer
from rich.text import Text

from halftone_client.cli import amounts, exits, summary
from halftone_client.cli.outputs import Images, Output, Outputs, Zip
from halftone_client.cli.screen import OK
from halftone_client.cli.session import DEFAULT_URL, Json, RequestId, Session, Url, id_of
from halftone_client.cli.submit import Wait
from halftone_client.cli.watch import to_the_end
from halftone_client.shapes import Request

COLUMNS = ("ID", "STATUS", "IMAGES", "DONE", "FAILED", "CREATED")
NOTHING = Outputs(None, None, None)


class State(StrEnum):
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


def status(request_id: RequestId, *, url: Url = DEFAULT_URL, json: Json = False) -> int:
    """Show how far a request is."""
    session = Session(url, as_json=json)
    with session.failures():
        request = session.client.request(id_of(request_id))
        summary.print_request(session.screen, session.client, request)
        retry = session.again(f"retry {request['request_id']} --wait")
        summary.print_failures(session.screen, session.client, request, retry=retry)
    return exits.DONE


def watch(
    request_id: RequestId,
    *,
    output: Output = None,
    zip: Zip = None,  # noqa: A002 - the option's name
    images: Images = None,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> int:
    """Follow a request to its end; then download, if asked to."""
    session, outputs = Session(url, as_json=json), Outputs(output, zip, images)
    outputs.check()
    with session.failures():
        return to_the_end(session, session.client.request(id_of(request_id)), outputs)


def retry(request_id: RequestId, *, wait: Wait = False, url: Url = DEFAULT_URL, json: Json = False) -> int:
    """Run the failed and cancelled images of a request again."""
    session = Session(url, as_json=json)
    with session.failures():
        request = session.client.retry(id_of(request_id))
        again = request["images"]["pending"]
        session.screen.say(OK, f"{amounts.many(again, 'image')} will be tried again (run {request['run']})")
        return to_the_end(session, request, NOTHING) if wait else _changed(session, request["request_id"], json=json)


def cancel(request_id: RequestId, *, wait: Wait = False, url: Url = DEFAULT_URL, json: Json = False) -> int:
    """Stop a request; what is compressed already stays."""
    session = Session(url, as_json=json)
    with session.failures():
        request = session.client.cancel(id_of(request_id))
        session.screen.say(OK, f"Cancelling {request['request_id']}")
        return to_the_end(session, request, NOTHING) if wait else _changed(session, request["request_id"], json=json)


def list_requests(
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, newest first.")] = 20,
    status: Annotated[State | None, typer.Option("--status", help="Only these.")] = None,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> int:
    """List your requests."""
    session = Session(url, as_json=json)
    screen = session.screen
    with session.failures():
        wanted = session.client.requests(status=status.value if status else None, page_size=min(limit, 200))
        found = list(islice(wanted, limit))
    if screen.as_json:
        screen.json(found)
    elif screen.is_plain:
        for one in found:
            counts = one["images"]
            settled = counts["total"] - counts["pending"]
            screen.plain(
                one["request_id"], one["status"], settled, counts["total"], counts["failed"], one["created_at"]
            )
    elif not found:
        screen.show(f"No requests yet. Make one: {session.again('submit products.csv --wait')}")
    else:
        screen.table(COLUMNS, map(_row, found), right="IMAGES DONE FAILED")
    return exits.DONE


def _row(request: Request) -> tuple[str | Text, ...]:
    counts = request["images"]
    return (
        request["request_id"],
        Text(request["status"], summary.COLOURS.get(request["status"], "")),
        f"{counts['total']:,}",
        f"{(counts['total'] - counts['pending']) / counts['total']:.0%}",
        Text(f"{counts['failed']:,}", "red") if counts["failed"] else "",
        amounts.ago(request["created_at"]),
    )


def _changed(session: Session, request_id: str, *, json: bool) -> int:
    if json:
        session.screen.json(session.client.request(request_id))
    elif session.screen.is_plain:
        session.screen.plain(request_id)
    else:
        session.screen.note(f"  Watch it: {session.again(f'watch {request_id}')}")
    return exits.DONE
