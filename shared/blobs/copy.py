"""`python -m shared.blobs.copy FROM TO`: copy all blobs to another store while both are in use.

Safe to repeat and to break off: what is there with its size is passed over. What is deleted in FROM meanwhile is
deleted in TO again, so that nothing outlives its request. Exit status 1 if something could not be copied.

`python -m shared.blobs.copy --create s3://bucket` makes the bucket instead, if it is not there.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from shared.blobs import BlobMissing, Blobs, connect
from shared.blobs.configured import access_of
from shared.blobs.store import STORE_ID
from shared.errors import StorageError
from shared.settings import BucketSettings, exit_with, from_environment

AT_ONCE = 16
REPORT_SECONDS = 5.0


@dataclass(slots=True)
class Tally:
    """What has been done; `bytes` are those of the copied ones."""

    copied: int = 0
    bytes: int = 0
    there: int = 0
    gone: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return (
            f"{self.copied} copied ({self.bytes} bytes), {self.there} were there, "
            f"{self.gone} deleted meanwhile, {self.failed} failed"
        )


def copy_all(source: Blobs, target: Blobs) -> Iterator[Tally]:
    """Folder by folder, in their order; yields how far it is after each, the last with the store's id."""
    tally = Tally()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for folder in sorted(source.folders()):
            there = dict(target.keys(folder))
            wanted = []
            for key, size in source.keys(folder):
                if there.get(key) == size:
                    tally.there += 1
                else:
                    wanted.append(key)
            _add(tally, threads.map(partial(_copy, source, target), wanted))
            yield tally
    if not target.exists(STORE_ID):
        _add(tally, [_copy(source, target, STORE_ID)])
    yield tally


def _add(tally: Tally, results: "Iterator[int | StorageError] | list[int | StorageError]") -> None:
    for result in results:
        if isinstance(result, BlobMissing):
            tally.gone += 1
        elif isinstance(result, StorageError):
            tally.failed += 1
            sys.stderr.write(f"{result}\n")
        else:
            tally.copied += 1
            tally.bytes += result


def _copy(source: Blobs, target: Blobs, key: str) -> "int | StorageError":
    """Bytes that were copied. Looks again afterwards: a deletion that came between found nothing in the target."""
    try:
        data = source.get(key)
        target.put(key, data)
        if not source.exists(key):
            target.delete(key)
            return BlobMissing(key)
    except StorageError as error:
        return error
    return len(data)


def create_bucket(target: Blobs) -> None:
    """Does nothing if it is there and ours. Raises StorageError."""
    url = target.signed_url("", seconds=60, method="PUT")
    assert url is not None
    try:
        with urlopen(Request(url, method="PUT"), timeout=30):  # noqa: S310 - signed for our own endpoint
            pass
    except HTTPError as error:
        if error.code != HTTPStatus.CONFLICT:
            raise StorageError(f"The bucket could not be made: {error}.") from error
    except OSError as error:
        raise StorageError(f"The bucket could not be made: {error}.") from error


def main(arguments: Sequence[str]) -> int:
    """Print the progress every few seconds; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m shared.blobs.copy", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("urls", nargs="+", metavar="URL", help="from and to, as BLOB_URL has it")
    parser.add_argument("--create", action="store_true", help="make the bucket of the only URL")
    given = parser.parse_args(arguments)
    if len(given.urls) != (1 if given.create else 2):
        parser.error("--create takes one URL, copying two")
    settings = from_environment(BucketSettings)  # copying asks no database
    access = replace(access_of(settings), public_endpoint=None)  # nothing is signed for a browser
    try:
        *sources, target = [connect(url, access) for url in given.urls]
        if given.create:
            create_bucket(target)
            return 0
        target.check()
        return _copy_and_report(sources[0], target)
    except StorageError as error:
        exit_with([str(error)])


def _copy_and_report(source: Blobs, target: Blobs) -> int:
    tally, reported = Tally(), time.monotonic()
    for tally in copy_all(source, target):
        if time.monotonic() - reported > REPORT_SECONDS:
            reported = time.monotonic()
            _say(f"so far: {tally}")
    _say(str(tally))
    return 1 if tally.failed else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
    sys.exit(130)
