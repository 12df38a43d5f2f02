"""The image host: a process of its own on the loopback, so that its CPU can be told apart from ours.

    /{class}/{delay in ms}/{anything}-{number}.{suffix}     a picture of the class, after the delay
    /fail/...                                               503, so that a request with such URLs stays open for minutes

`python -m tests.bench.origin PORT FOLDER CLASS...` runs it; it prints `ready`.
"""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from signal import SIGTERM
from types import TracebackType
from typing import Self

import uvloop

from deploy.local.process import die_with_parent
from tests.bench.pictures import CLASSES, PictureClass, Variants, pictures_of
from tests.connection import KeptConnection
from tests.stack import ROOT, reserve_ports

TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
FAIL = b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n"


class Origin:
    """Starts the process; `host` is its `127.0.0.1:port`."""

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        [self.port] = reserve_ports(1)
        self.host = f"127.0.0.1:{self.port}"
        for name in classes:
            pictures_of(CLASSES[name], folder)  # drawn here, with progress to be seen, not in the child
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.origin", str(self.port), str(folder), *classes],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            preexec_fn=die_with_parent(SIGTERM),  # noqa: PLW1509 - nothing but one system call
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "the origin did not start"

    @property
    def pid(self) -> int:
        return self._process.pid

    def url(self, kind: str, tag: str, number: int, *, delay_ms: int = 0) -> str:
        """A URL that the origin answers with a picture of this class; `tag` makes it new."""
        suffix = CLASSES[kind].suffix if kind in CLASSES else "jpg"
        return f"http://{self.host}/{kind}/{delay_ms}/{tag}-{number}.{suffix}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)


class Connection(KeptConnection):
    def __init__(self, answers: dict[bytes, list["Answer"]]) -> None:
        super().__init__()
        self._answers = answers

    def data_received(self, data: bytes) -> None:
        self.unread += data
        while b"\r\n\r\n" in self.unread:
            head, _, self.unread = self.unread.partition(b"\r\n\r\n")
            _, kind, *rest = head.split(b" ", 2)[1].split(b"/")
            if kind not in self._answers:
                self.send(FAIL)
                continue
            answers = self._answers[kind]
            number = int(rest[-1].rpartition(b"-")[2].partition(b".")[0])
            answer = answers[number % len(answers)].parts(number // len(answers))
            if delay := int(rest[0]):
                asyncio.get_running_loop().call_later(delay / 1000, self.send, *answer)
            else:
                self.send(*answer)


class Answer:
    """The head and the file of one picture."""

    def __init__(self, kind: PictureClass, body: bytes) -> None:
        lines = ("HTTP/1.1 200 OK", f"Content-Type: {TYPES[kind.suffix]}", f"Content-Length: {len(body)}", "", "")
        self._head = "\r\n".join(lines).encode()
        self._body = body
        self._variants = Variants(body, kind.retouched) if kind.suffix == "jpg" else None

    def parts(self, variant: int) -> tuple[bytes, ...]:
        """The answer, in parts; a PNG or WebP has only one variant."""
        return (self._head, *(self._variants.parts(variant) if self._variants else (self._body,)))


def answers_of(folder: Path, name: str) -> list[Answer]:
    """The answers of a class."""
    kind = CLASSES[name]
    return [Answer(kind, body) for body in pictures_of(kind, folder)]


async def serve(port: int, answers: dict[bytes, list[Answer]]) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(answers), "127.0.0.1", port, backlog=512)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    _, port, folder, *classes = sys.argv
    uvloop.run(serve(int(port), {name.encode(): answers_of(Path(folder), name) for name in classes}))
