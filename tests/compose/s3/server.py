"""Called as versitygw is (`--port :7070 posix /data`, with ROOT_... in the environment): its key alone opens it."""

import http.client
import os
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.signatures import refusal

MOTO = 7071
KEY = (os.environ["ROOT_ACCESS_KEY_ID"], os.environ["ROOT_SECRET_ACCESS_KEY"])
HOP = {"connection", "transfer-encoding", "keep-alive", "server", "date", "content-length"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = dict(self.headers.items())
        healthy = self.path == os.environ["VGW_HEALTH"]
        if not healthy and (refused := refusal(self.command, self.path, headers, key=KEY)):
            self._answer(refused[0], [], f"<Error><Code>{refused[1]}</Code></Error>".encode())
            return
        moto = http.client.HTTPConnection("127.0.0.1", MOTO, timeout=60)
        moto.request(self.command, "/moto-api/" if healthy else self.path, body, headers)
        answer = moto.getresponse()
        self._answer(answer.status, answer.getheaders(), answer.read(), answer.getheader("Content-Length"))
        moto.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_any  # noqa: N815

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, length: str | None = None) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", (self.command == "HEAD" and length) or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


Path("/data/written").write_text("as versitygw must be able to")
subprocess.Popen(["/venv/bin/moto_server", "-H", "127.0.0.1", "-p", str(MOTO)])
ThreadingHTTPServer(("", 7070), Handler).serve_forever()
