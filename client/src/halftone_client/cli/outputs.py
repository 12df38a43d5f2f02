"""Where results go: the output CSV, the ZIP, the images."""

import os
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from halftone_client.cli import amounts
from halftone_client.cli.exits import fail
from halftone_client.cli.progress import counting
from halftone_client.cli.screen import OK, WARN
from halftone_client.cli.session import Session
from halftone_client.shapes import Request

Output = Annotated[Path | None, typer.Option("--output", "-o", help="Then write the output CSV to this file.")]
Zip = Annotated[Path | None, typer.Option("--zip", help="Then write all images to this ZIP file.")]
Images = Annotated[Path | None, typer.Option("--images", help="Then write all images into this folder.")]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is wanted of a finished request; a None is not."""

    csv: Path | None
    zip: Path | None
    images: Path | None

    def __bool__(self) -> bool:
        return any((self.csv, self.zip, self.images))

    def check(self) -> None:
        """Find out before an upload, not after an hour, that a place cannot be written to."""
        for file in filter(None, (self.csv, self.zip)):
            if file.is_dir():
                fail(f"{file} is a folder.", "Name a file in it.")
            _check_folder(file.absolute().parent, file)
        if self.images and self.images.exists() and not self.images.is_dir():
            fail(f"{self.images} is a file; --images wants a folder.")
        if self.images and self.images.is_dir():
            _check_folder(self.images, self.images)

    def command(self) -> str:
        """The options again, to be typed."""
        named = (("--output", self.csv), ("--zip", self.zip), ("--images", self.images))
        return "".join(f" {option} {quote(str(path))}" for option, path in named if path)


def write(session: Session, request: Request, outputs: Outputs) -> None:
    """Download what is wanted, each with its progress; a file is there whole or not at all."""
    client, request_id, screen = session.client, request["request_id"], session.screen
    total = request["images"]["completed"]
    for wanted, path, save in (
        ("output CSV", outputs.csv, client.download_csv),
        ("ZIP", outputs.zip, client.download_zip),
    ):
        if path:
            with counting(screen, f"Downloading the {wanted}", total=None, in_bytes=True) as bar:
                size = save(request_id, path, advance=lambda count: bar.advance(bar.task_ids[0], count))
            screen.say(OK, f"Wrote {path} ({amounts.size(size)})")
    if outputs.images and total:
        written = 0

        def advance(count: int) -> None:
            nonlocal written
            written += count
            bar.advance(bar.task_ids[0], count)

        with counting(screen, "Downloading images", total=None, in_bytes=False) as bar:
            missing = client.download_images(request_id, outputs.images, advance=advance)
        screen.say(OK, f"Wrote {amounts.many(written, 'image')} to {outputs.images}{os.sep}")
        if missing:
            screen.say(WARN, f"{amounts.many(len(missing), 'image')} could not be found any more: {missing[0]}, …")


def _check_folder(folder: Path, path: Path) -> None:
    if not folder.is_dir():
        fail(f"{path}: there is no folder {folder}.", f"Make it first: mkdir -p {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        fail(f"{path}: you may not write to {folder}.")
