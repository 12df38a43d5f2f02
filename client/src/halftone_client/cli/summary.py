"""A request in figures: a short block for a person, `name<TAB>value` lines for a pipe."""

from rich.text import Text

from halftone_client.cli import amounts, exits
from halftone_client.cli.screen import OK, WARN, WRONG, Screen
from halftone_client.client import Client
from halftone_client.shapes import Request

COLOURS = {"pending": "yellow", "processing": "cyan", "completed": "green", "failed": "red", "cancelled": "yellow"}
FAILURES_SHOWN = 5


def exit_code(request: Request) -> int:
    """Of a terminal request."""
    if request["status"] != "completed":
        return exits.NOT_DONE
    return exits.SOME_FAILED if request["images"]["failed"] else exits.DONE


def print_request(screen: Screen, client: Client, request: Request) -> None:
    """On stdout, in the form that it wants."""
    if screen.as_json:
        screen.json(request)
    elif screen.is_plain:
        for name, value in _plain(request).items():
            screen.plain(name, value)
    else:
        screen.fields(_fields(client, request))


def print_end(screen: Screen, request: Request) -> None:
    """One line: how it ended."""
    counts = request["images"]
    begin = request["started_at"] or request["created_at"]
    took = f" in {amounts.between(begin, request['finished_at'] or begin)}"
    done = f"{amounts.many(counts['completed'], 'image')} compressed"
    failed = f", {counts['failed']:,} failed" if counts["failed"] else ""
    match request["status"]:
        case "completed":
            screen.say(WARN if counts["failed"] else OK, f"{done}{failed}{took}")
        case "cancelled":
            screen.say(WARN, f"Cancelled{took}: {done}{failed}, {counts['cancelled']:,} cancelled")
        case _:
            screen.say(WRONG, f"No image could be compressed: {counts['failed']:,} failed{took}")


def print_failures(screen: Screen, client: Client, request: Request, *, retry: str) -> None:
    """The first failed images, for a person, and how to run them again."""
    if screen.is_plain or not (failed := request["images"]["failed"]):
        return
    images = client.images(request["request_id"], status="failed", page_size=FAILURES_SHOWN)
    rows = []
    for image in images:
        error = image["error"] or {"code": "", "detail": None}
        rows.append((str(image["number"]), Text(error["code"], "red"), error["detail"] or "", image["url"]))
        if len(rows) == FAILURES_SHOWN:
            break
    screen.show()
    screen.table(("IMAGE", "ERROR", "DETAIL", "URL"), rows, right="IMAGE")
    more = f"… and {failed - len(rows):,} more. " if failed > len(rows) else ""
    screen.note(f"{more}Run them again: {retry}")


def state(request: Request) -> Text:
    """The status with its colour."""
    word = (
        "completed, some failed"
        if request["outcome"] == "partial" and request["status"] == "completed"
        else request["status"]
    )
    return Text(word, COLOURS.get(request["status"], ""))


def _fields(client: Client, request: Request) -> list[tuple[str, str | Text]]:
    counts, weight = request["images"], request["bytes"]
    rest = [f"{counts[name]:,} {name}" for name in ("failed", "cancelled", "pending") if counts[name]]
    saved = f", {weight['saved_ratio']:.0%} saved" if weight["saved_ratio"] is not None else ""
    shown = request["options"]
    recipe = f"{shown['mode']} {shown['quality']}, {shown['format']}"
    side = f", at most {shown['max_side']:,} px" if shown["max_side"] else ""
    left = request["eta_seconds"]
    fields: list[tuple[str, str | Text]] = [
        ("Request", request["request_id"]),
        ("Status", state(request)),
        ("Images", ", ".join([f"{counts['completed']:,} of {counts['total']:,} compressed", *rest])),
        ("Size", f"{amounts.size(weight['source'])} → {amounts.size(weight['rendition'])}{saved}"),
        ("Quality", f"{recipe}{side}"),
        ("Created", amounts.ago(request["created_at"]) + (f", run {request['run']}" if request["run"] > 1 else "")),
    ]
    if left and not request["finished_at"]:
        fields.append(("Left", amounts.seconds(left)))
    if request["webhook_url"]:
        fields.append(("Webhook", request["webhook_url"]))
    return [*fields, ("Page", client.page_of(request["request_id"]))]


def _plain(request: Request) -> dict[str, object]:
    counts, weight = request["images"], request["bytes"]
    return {
        "request_id": request["request_id"],
        "status": request["status"],
        "outcome": request["outcome"],
        "progress": request["progress"],
        **counts,
        "source_bytes": weight["source"],
        "rendition_bytes": weight["rendition"],
    }
