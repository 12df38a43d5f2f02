"""`halftone deliveries`."""

from typing import Annotated

import typer
from rich.text import Text

from halftone_client.cli import amounts, exits
from halftone_client.cli.screen import OK
from halftone_client.cli.session import DEFAULT_URL, Json, RequestId, Session, Url, id_of
from halftone_client.shapes import Delivery

COLOURS = {"pending": "yellow", "delivered": "green", "stopped": "red", "exhausted": "red"}
COLUMNS = ("DELIVERY", "STATUS", "TRIES", "ANSWER", "URL")

Redeliver = Annotated[
    str | None,
    typer.Option("--redeliver", metavar="DELIVERY", help="Send this one again, whatever its status; or `all`."),
]


def deliveries(
    request_id: RequestId, *, redeliver: Redeliver = None, url: Url = DEFAULT_URL, json: Json = False
) -> int:
    """List the webhook deliveries of a request, and send them again."""
    session = Session(url, as_json=json)
    screen = session.screen
    with session.failures():
        found = list(session.client.deliveries(id_of(request_id)))
        if redeliver is not None:
            again = [one["id"] for one in found if redeliver in (one["id"], "all")]
            if not again:
                exits.fail(f"This request has no delivery {redeliver}.", session.again(f"deliveries {request_id}"))
            for delivery in again:
                session.client.redeliver(delivery)
            screen.say(
                OK, f"{amounts.many(len(again), 'delivery').replace('deliverys', 'deliveries')} will be sent again"
            )
            found = list(session.client.deliveries(id_of(request_id)))
    if screen.as_json:
        screen.json(found)
    elif screen.is_plain:
        for one in found:
            screen.plain(one["id"], one["status"], len(one["attempts"]), _answer(one), one["url"])
    elif not found:
        screen.show("No deliveries: the request has no webhook, or is not finished yet.")
    else:
        screen.table(COLUMNS, map(_row, found), right="TRIES")
    return exits.DONE


def _row(delivery: Delivery) -> tuple[str | Text, ...]:
    last = max(delivery["attempts"], key=lambda attempt: attempt["number"], default=None)
    return (
        delivery["id"],
        Text(delivery["status"], COLOURS.get(delivery["status"], "")),
        f"{last['number'] if last else 0}",
        _answer(delivery),
        delivery["url"],
    )


def _answer(delivery: Delivery) -> str:
    last = max(delivery["attempts"], key=lambda attempt: attempt["number"], default=None)
    if last is None:
        return ""
    return str(last["status_code"] or last["error"] or "")
