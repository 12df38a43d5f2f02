"""The OpenAPI 3.1 document of the whole public API: the calls of ingest and of status."""

from pathlib import Path
from typing import Any

from services.status.openapi.calls import RATES, paths, shown_examples
from services.status.openapi.shapes import SHAPES
from services.status.openapi.webhooks import webhooks
from shared.version import VERSION

EXAMPLES = Path(__file__).parents[1] / "static/examples"


def _example(name: str) -> str:
    return (EXAMPLES / name).read_text(encoding="utf-8")


DESCRIPTION = f"""Halftone turns a CSV of product image URLs into compressed images.

Upload a CSV manifest and get a request id at once. Poll `GET /v1/requests/{{request_id}}`, follow its events, or wait
for the webhook; then download the output CSV with the new URLs. Errors are RFC 9457 problem documents, and each type of
them [is explained](/docs/problems/); every response has an `X-Request-Id`. A browser's page of another site may not
write (403 `cross_site`), and the server answers only to its own names (421 `unknown_host`).

## Upload, wait, download
`HALFTONE_URL` is this server's address; `HALFTONE_API_KEY` an API key, if it requires keys.

[With curl](/docs/examples/upload.sh):
```sh
{_example("upload.sh")}```
[In Python](/docs/examples/upload.py):
```python
{_example("upload.py")}```
[In JavaScript](/docs/examples/upload.mjs):
```js
{_example("upload.mjs")}```

## Webhooks
Webhooks are signed as [Standard Webhooks](https://www.standardwebhooks.com) says, so its library verifies them, in
[Python](/docs/examples/webhook.py) as in [JavaScript](/docs/examples/webhook.mjs). Verify the body as it came, answer
with 2xx within 15 seconds, and take a second delivery with the same `webhook-id` for the first one."""


API_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, `ht_<id>_<secret>`, if the server requires keys.",
}


def document(*, public_url: str, needs_keys: bool) -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {"title": "Halftone", "version": VERSION, "description": DESCRIPTION, "license": {"name": "MIT"}},
        "servers": [{"url": public_url}],
        "tags": [
            {"name": "requests", "description": "Upload manifests, follow, cancel, retry and delete requests."},
            {"name": "results", "description": "Products, images and files of a request."},
            {"name": "webhooks", "description": "Webhook deliveries of a request, with their attempts."},
            {"name": "account", "description": "The account of an API key: its keys, signing secret and audit log."},
            {"name": "older", "description": "Two older contracts, kept for existing clients."},
        ],
        "security": [{"apiKey": []}] if needs_keys else [{"apiKey": []}, {}],
        "paths": paths(),
        "webhooks": webhooks(),
        "components": {
            "schemas": SHAPES,
            "headers": RATES,
            "examples": shown_examples(),
            "securitySchemes": {"apiKey": API_KEY},
        },
    }
