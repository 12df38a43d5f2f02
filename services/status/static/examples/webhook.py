"""Takes Halftone's webhooks and verifies their signatures. Needs standardwebhooks.

WEBHOOK_SECRET is the account's signing secret (`whsec_...`), PORT where to listen.
"""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["WEBHOOK_SECRET"])


class Receiver(BaseHTTPRequestHandler):
    timeout = 10  # seconds: who sends nothing holds no thread

    def do_POST(self) -> None:
        length = self.headers["Content-Length"] or ""
        size = int(length) if length.isdecimal() and len(length) < 7 else 0  # an event is some kB
        body = self.rfile.read(size)  # as it came: the signature is over these bytes
        try:
            event = webhook.verify(body, dict(self.headers))
        except (WebhookVerificationError, ValueError) as error:  # ValueError: no signature at all
            self.answer(400, f"refused: {error}")
        else:
            # A delivery may come twice, with the same webhook-id. Answer soon, and work on it afterwards.
            self.answer(204, f"{event['type']} {event['data']['request_id']} {self.headers['webhook-id']}")

    def answer(self, status: int, line: str) -> None:
        print(line, flush=True)
        self.send_response(status)
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Receiver).serve_forever()
