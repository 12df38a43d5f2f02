"""Uploads products.csv, waits for its end and saves the output CSV. Needs halftone-client."""

import os

from halftone_client import Client, Refused

url = os.environ.get("HALFTONE_URL", "http://127.0.0.1:8080")

try:
    with Client(url, key=os.environ.get("HALFTONE_API_KEY")) as halftone:
        request = halftone.wait(halftone.submit("products.csv", quality=60)["request_id"])
        halftone.download_csv(request["request_id"], "output.csv")
except Refused as refusal:
    raise SystemExit(f"{refusal} See {url}/docs/problems/{refusal.code}") from None

print(f"{request['status']}: {request['images']['completed']} of {request['images']['total']} images")
