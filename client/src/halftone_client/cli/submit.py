"""`halftone submit` and `halftone check`."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated

import typer

from halftone_client.cli import amounts, exits, rows
from halftone_client.cli.exits import Failed, fail
from halftone_client.cli.outputs import Images, Output, Outputs, Zip
from halftone_client.cli.progress import counting
from halftone_client.cli.screen import OK, WARN, WRONG
from halftone_client.cli.session import DEFAULT_URL, Json, Session, Url
from halftone_client.cli.watch import to_the_end
from halftone_client.client import Submitted
from halftone_client.errors import Refused
from halftone_client.shapes import Options, Validation

SHOWN_FROM = 1_000_000
"""Bytes from which an upload has a bar of its own."""


class Mode(StrEnum):
    ABSOLUTE = "absolute"
    RELATIVE = "relative"
    BYTES = "bytes"


class Format(StrEnum):
    KEEP = "keep"
    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    AVIF = "avif"


Manifest = Annotated[str, typer.Argument(metavar="FILE", help="The CSV; - reads standard input.")]
Quality = Annotated[int | None, typer.Option("--quality", min=1, max=95, help="1 to 95; 50 by default.")]
ModeOption = Annotated[
    Mode | None,
    typer.Option(
        "--mode", help="absolute: encode at the quality; relative: percent of the source's; bytes: of its size."
    ),
]
FormatOption = Annotated[Format | None, typer.Option("--format", help="Format of the images; keep by default.")]
MaxSide = Annotated[int | None, typer.Option("--max-side", min=1, help="Shrink to this longest side, in pixels.")]
Webhook = Annotated[str | None, typer.Option("--webhook", help="URL that is called when the request is done.")]
SkipInvalid = Annotated[
    bool, typer.Option("--skip-invalid", help="Leave invalid rows out instead of refusing the file.")
]
New = Annotated[
    bool, typer.Option("--new", help="Make a second request of a file that was submitted in the last 24 hours.")
]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Follow it to the end.")]


def submit(
    file: Manifest,
    *,
    quality: Quality = None,
    mode: ModeOption = None,
    format: FormatOption = None,  # noqa: A002 - the option's name
    max_side: MaxSide = None,
    webhook: Webhook = None,
    skip_invalid: SkipInvalid = False,
    new: New = False,
    wait: Wait = False,
    output: Output = None,
    zip: Zip = None,  # noqa: A002 - the option's name
    images: Images = None,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> int:
    """Send a CSV of image URLs to be compressed.

    The same file with the same options and webhook finds the same request for 24 hours: interrupted, killed or typed
    twice, it is processed once. After that, or with --new, it is a new request.
    --output, --zip and --images imply --wait.
    """
    session, outputs = Session(url, as_json=json), Outputs(output, zip, images)
    outputs.check()
    options = _options(quality, mode, format, max_side, webhook, skip_invalid=skip_invalid)
    with opened(file) as manifest, session.failures():
        submitted = _send(session, manifest, options, name=_named(file), new=new)
        watch = session.again(f"watch {submitted['request_id']}{outputs.command()}")
        session.interrupted = ("Interrupted; the service goes on without you.", f"Watch it: {watch}")
        _say_accepted(session, submitted, name=_named(file))
        if wait or outputs:
            request = session.client.request(submitted["request_id"]) if submitted["replayed"] else submitted
            return to_the_end(session, request, outputs)
        _print_submitted(session, submitted)
    return exits.DONE


def check(
    file: Manifest,
    *,
    quality: Quality = None,
    mode: ModeOption = None,
    format: FormatOption = None,  # noqa: A002 - the option's name
    max_side: MaxSide = None,
    webhook: Webhook = None,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> int:
    """Check a CSV and the options; nothing is stored."""
    session = Session(url, as_json=json)
    options = _options(quality, mode, format, max_side, webhook, skip_invalid=False)
    with opened(file) as manifest, session.failures():
        with _uploading(session, manifest) as advance:
            found = session.client.validate(manifest, advance=advance, **options)
        _print_checked(session, found, manifest, name=_named(file))
    return exits.DONE if found["valid"] else exits.REFUSED


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """The file to send, not empty; standard input as a temporary file."""
    if name == "-":
        with _copied(sys.stdin.buffer, "Standard input") as copy:
            yield copy
        return
    path = Path(name)
    if path.is_dir():
        fail(f"{name} is a folder.", "Name the CSV file in it.")
    if not path.exists():
        fail(f"There is no file {name} here ({Path.cwd()}).")
    try:
        file = path.open("rb")
    except OSError as error:
        fail(f"{name} cannot be read: {error.strerror}.")
    with file:
        if not file.seekable():
            with _copied(file, name) as copy:
                yield copy
            return
        if not path.stat().st_size:
            fail(f"{name} is empty.", "The first line names the columns: S. No.,Product Name,Input Image Urls")
        yield file


def _named(file: str) -> str:
    return "standard input" if file == "-" else file


@contextmanager
def _copied(pipe: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """What a pipe gives, as a temporary file: it may have to be sent twice."""
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(pipe, copy)
        if not copy.tell():
            fail(f"{name} is empty: there is nothing to send.")
        yield copy


def _options(
    quality: int | None,
    mode: Mode | None,
    target: Format | None,
    max_side: int | None,
    webhook: str | None,
    *,
    skip_invalid: bool,
) -> Options:
    options: Options = {}
    if quality is not None:
        options["quality"] = quality
    if mode is not None:
        options["mode"] = mode.value
    if target is not None:
        options["format"] = target.value
    if max_side is not None:
        options["max_side"] = max_side
    if webhook is not None:
        if not webhook:
            fail("--webhook is empty.")
        options["webhook_url"] = webhook
    if skip_invalid:
        options["on_invalid"] = "skip"
    return options


@contextmanager
def _uploading(session: Session, manifest: IO[bytes]) -> Iterator[Callable[[int], None]]:
    """A bar for a large file."""
    length = manifest.seek(0, 2)
    if length < SHOWN_FROM:
        yield lambda _: None
        return
    with counting(session.screen, "Uploading", total=length, in_bytes=True) as bar:
        yield lambda count: bar.advance(bar.task_ids[0], count)


def _send(session: Session, manifest: IO[bytes], options: Options, *, name: str, new: bool) -> Submitted:
    todo = "`halftone list` shows whether it arrived." if new else "Type it again: what arrived is not done twice."
    session.interrupted = ("Interrupted while uploading.", todo)
    try:
        with _uploading(session, manifest) as advance:
            return session.client.submit(manifest, new=new, advance=advance, **options)
    except Refused as refusal:
        if not refusal.errors:
            raise
        _print_refused(session, refusal, manifest, name=name)
        raise Failed(code=exits.REFUSED) from None


def _say_accepted(session: Session, submitted: Submitted, *, name: str) -> None:
    products = amounts.many(submitted["products"], "product")
    images = amounts.many(submitted["images"]["total"], "image")
    if submitted["replayed"]:
        known = f"{name} was submitted {amounts.ago(submitted['created_at'])}; this is the same request"
        session.screen.say(WARN, known, "Within 24 hours only --new makes a second one.")
    else:
        session.screen.say(OK, f"Submitted {name}: {products}, {images}")
    if left_out := submitted.get("error_count"):
        session.screen.say(WARN, f"{amounts.many(left_out, 'error')}: rows that were left out")


def _print_submitted(session: Session, submitted: Submitted) -> None:
    screen, request_id = session.screen, submitted["request_id"]
    if screen.as_json:
        screen.json(submitted)
    elif screen.is_plain:
        screen.plain(request_id)
    else:
        screen.show(f"  Request  {request_id}")
        screen.show(f"  Page     {session.client.page_of(request_id)}")
        screen.note(f"  Watch    {session.again(f'watch {request_id}')}")


def _print_checked(session: Session, found: Validation, manifest: IO[bytes], *, name: str) -> None:
    screen = session.screen
    if screen.as_json:
        screen.json(found)
    elif screen.is_plain:
        rows.print_plain(screen, found["errors"])
    if found["valid"]:
        products, images = amounts.many(found["products"], "product"), amounts.many(found["images"], "image")
        screen.say(OK, f"{name} is valid: {products}, {images}")
    elif not screen.is_plain:
        rows.print_marked(screen, found["errors"], manifest, name=name, count=found["error_count"])
    else:
        screen.say(WRONG, f"{name} has {amounts.many(found['error_count'], 'error')}")


def _print_refused(session: Session, refusal: Refused, manifest: IO[bytes], *, name: str) -> None:
    screen = session.screen
    if screen.as_json:
        screen.json({"valid": False, "errors": refusal.errors, "error_count": refusal.error_count})
    elif screen.is_plain:
        rows.print_plain(screen, refusal.errors)
    if screen.is_plain:
        screen.say(WRONG, f"{name} was refused: {amounts.many(refusal.error_count, 'error')}, nothing was stored")
    else:
        rows.print_marked(screen, refusal.errors, manifest, name=name, count=refusal.error_count)
        screen.note("Nothing was stored. Correct the rows, or leave them out with --skip-invalid.")
