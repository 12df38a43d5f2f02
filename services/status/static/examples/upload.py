"""Uploads products.csv, waits for its end and saves the output CSV. Needs httpx."""

import os
import time
from pathlib import Path

import httpx

url = os.environ.get("HALFTONE_URL", "http://127.0.0.1:8080")
key = os.environ.get("HALFTONE_API_KEY")
headers = {"Authorization": f"Bearer {key}"} if key else {}

with httpx.Client(base_url=url, headers=headers, timeout=60) as http:
    answer = http.post("/v1/requests", files={"file": Path("products.csv").read_bytes()}, data={"quality": "60"})
    if answer.is_error:
        problem = answer.json()
        raise SystemExit(f"{problem['detail']} See {url}{problem['type']}")
    request = answer.json()
    while request["finished_at"] is None:
        time.sleep(1)
        request = http.get(request["links"]["self"]).raise_for_status().json()
    Path("output.csv").write_bytes(http.get(request["links"]["output_csv"]).raise_for_status().content)

print(f"{request['status']}: {request['images']['completed']} of {request['images']['total']} images")
