"""/healthz, /readyz and /metrics for services that speak no HTTP of their own (worker, notifier)."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


def serve(host: str, port: int, *, ready: Callable[[], bool]) -> None:
    """Serve in a daemon thread until the process ends; port 0 means no server. `ready` must answer fast, not raise."""
    if not port:
        return

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, generate_latest(), CONTENT_TYPE_LATEST)
            elif self.path == "/healthz" or (self.path == "/readyz" and ready()):
                self._answer(200, b"ok\n")
            else:
                self._answer(503 if self.path == "/readyz" else 404, b"no\n")

        def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Probes are not logged."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    # The interval is that of the wait for `shutdown`, which nobody calls.
    Thread(target=server.serve_forever, args=(3600,), name="health", daemon=True).start()
