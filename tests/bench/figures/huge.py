"""A million images: the upload beside a plain COPY of its rows, and what can be done with it while it runs."""

import http.client
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from tests.bench.bench import Bench
from tests.bench.copying import Rows, copied_tables
from tests.bench.journey import Api, is_terminal
from tests.bench.processes import Watched, peak_rss
from tests.bench.samples import ratios, stopwatch, summary, within
from tests.stack import Stack

BUDGET = 200.0
"""Seconds for all pairs of the largest upload: as many as fit, at most as many as wanted."""
KEYS = {
    "HALFTONE_AUTH": "required",
    "HALFTONE_CALLS_PER_SECOND": "100000",
    "HALFTONE_IMAGES_PER_DAY": "1000000000",
    "HALFTONE_OPEN_REQUESTS": "2",
}
"""`_life` has two requests open: a third one would be refused, and one that were counted after its end as well."""
PATIENCE = 240.0
"""Seconds that a large request has to end after a cancel."""

USED = """
    SELECT a.name, (SELECT count(*) FROM processing_request WHERE account_id = a.id) AS requests, a.kept_bytes,
           (SELECT coalesce(sum(images), 0) FROM account_usage WHERE account_id = a.id) AS images
    FROM account a
"""


def measure(bench: Bench) -> dict[str, Any]:
    sizes = (2_000, 20_000) if bench.quick else (100_000, 1_000_000)
    with (
        bench.stack("huge", workers=1, **(KEYS if bench.keys else {})) as stack,
        Api(stack, key=stack.key("bench") if bench.keys else None) as api,
        copied_tables(stack) as rows,
    ):
        uploads = {str(images): _uploads(bench, stack, api, rows, images) for images in sizes}
        return {"uploads": uploads, **_life(bench, stack, api, sizes[-1])}


def write_manifest(path: Path, host: str, images: int) -> int:
    """Ten images to a product; the length of the file."""
    with path.open("w") as file:
        file.write("S. No.,Product Name,Input Image Urls\n")
        for row in range(0, images, 10):
            urls = ",".join(f"http://{host}/tiny/0/front-{number}.jpg" for number in range(row, row + 10))
            file.write(f'{row},Product {row},"{urls}"\n')
    return path.stat().st_size


def _uploads(bench: Bench, stack: Stack, api: Api, rows: Rows, images: int) -> dict[str, Any]:
    """Pairs of an upload and a COPY of the very rows that it stored; each request is deleted before the next one."""
    path = bench.folder / "huge.csv"
    length = write_manifest(path, bench.origin.host, images)
    watched = Watched(stack)
    accepted, copied, peaks = list[float](), list[float](), list[int]()
    for number in within(BUDGET, bench.pairs):
        watched.forget_peaks()
        with stopwatch() as passed:
            request_id = _upload(api, path, length)
        accepted.append(passed())
        peaks.append(max(map(peak_rss, watched.main()["ingest"])))
        api.call("POST", f"/v1/requests/{request_id}/cancel", expected=202)
        api.until(request_id, is_terminal, every=0.2, most=PATIENCE)
        copied.append(rows.copy(request_id))
        api.call("DELETE", f"/v1/requests/{request_id}", expected=204)
        shown = f"202 after {accepted[-1]:.2f} s, COPY {copied[-1]:.2f} s, ingest {peaks[-1] / 1e6:.0f} MB"
        bench.say(f"  {images:,} images {number + 1}/{bench.pairs}: {shown}")
    return {
        "bytes": length,
        "accepted": summary(accepted),
        "copied": summary(copied),
        "against_copy": ratios(accepted, copied),
        "ingest_peak_rss": max(peaks),
    }


def _upload(api: Api, path: Path, length: int) -> str:
    with path.open("rb") as file:
        return api.upload(file, length=length)


def _life(bench: Bench, stack: Stack, api: Api, images: int) -> dict[str, Any]:
    """The status of a running huge request beside a small one; then cancel, retry, cancel again, delete."""
    path = bench.folder / "huge.csv"
    small = api.upload(_failing(bench, 10))
    large = _upload(api, path, path.stat().st_size)
    gets = _gets(bench, api, large, small)
    bench.say(f"  GET: {gets['large']['median']:.1f} ms, of ten images {gets['small']['median']:.1f} ms")
    unchanged = _unchanged(bench, stack, api, small)
    bench.say(f"  304s: {unchanged['per_core']:.0f} a second of the status process's CPU")
    times: dict[str, float] = {}
    steps = (("cancel", 202), ("retry", 202), ("cancel again", 202), ("delete", 204))
    for step, expected in steps:
        with stopwatch() as passed:
            if step == "delete":
                api.call("DELETE", f"/v1/requests/{large}", expected=expected)
            else:
                api.call("POST", f"/v1/requests/{large}/{step.partition(' ')[0]}", expected=expected)
                times[f"{step}, answer"] = passed()
                done = (lambda request: not is_terminal(request)) if step == "retry" else is_terminal
                api.until(large, done, every=0.05, most=PATIENCE)
        times[step] = passed()
        bench.say(f"  {step} of {images:,}: {times[step]:.2f} s")
    api.call("POST", f"/v1/requests/{small}/cancel", expected=202)
    api.until(small, is_terminal, every=0.05, most=PATIENCE)
    api.call("DELETE", f"/v1/requests/{small}", expected=204)
    bench.say(f"  afterwards: {_used(stack)}")
    return {"images": images, "get_ms": gets, "unchanged": unchanged, "seconds": times}


def _used(stack: Stack) -> list[tuple[Any, ...]]:
    """What each account uses now of its quotas; nothing but the images of the day may be left after a delete.

    Raises:
        AssertionError: something is.

    """
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        found = connection.execute(USED).fetchall()
    assert not any(requests or kept for _, requests, kept, _ in found), found
    return found


def _failing(bench: Bench, images: int) -> bytes:
    """A small request that stays open for minutes without using a thread: each of its URLs answers 503."""
    urls = ",".join(f"http://{bench.origin.host}/fail/0/x-{number}.jpg" for number in range(images))
    return f'S. No.,Product Name,Input Image Urls\n1,Product,"{urls}"\n'.encode()


def _gets(bench: Bench, api: Api, large: str, small: str) -> dict[str, Any]:
    """Milliseconds of GETs in turn, from the first second after the 202.

    Each is the first of a pair as often as the other: the first one wakes up the gateway and the status process.
    """
    found: dict[str, list[float]] = {large: [], small: []}
    for pair in range(bench.some(300, 40)):
        for request_id in (large, small) if pair % 2 else (small, large):
            with stopwatch() as passed:
                state = api.request(request_id)
            found[request_id].append(passed() * 1000)
            assert not is_terminal(state), "a request ended too soon"
        time.sleep(0.03)
    first = found[large][:20]
    return {
        "large": _without_values(summary(found[large])),
        "small": _without_values(summary(found[small])),
        "ratio": median(found[large]) / median(found[small]),
        "first_20_ms": median(first),
        "images_settled": sum(api.request(large)["images"][state] for state in ("completed", "failed")),
    }


def _without_values(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "values"}


def _unchanged(bench: Bench, stack: Stack, api: Api, request_id: str) -> dict[str, float]:
    """304s for each second of CPU: of the status process alone, and with PostgreSQL and the gateway.

    PostgreSQL also works for the running request; so the second figure is a lower bound.
    """
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    path, watched, many = f"/v1/requests/{request_id}", Watched(stack), bench.some(3_000, 200)
    connection.request("GET", path, headers=api.headers)
    answer = connection.getresponse()
    json.loads(answer.read())
    tag = str(answer.headers["ETag"])
    before, hits = watched.cpu(), 0
    for _ in range(many):
        connection.request("GET", path, headers={**api.headers, "If-None-Match": tag})
        answer = connection.getresponse()
        answer.read()
        hits += answer.status == 304
        tag = str(answer.headers["ETag"])
    after = watched.cpu()
    connection.close()
    status = after["status"] - before["status"]
    everyone = sum(after[role] - before[role] for role in ("status", "postgres", "gateway"))
    return {"n": many, "share_304": hits / many, "per_core": hits / status, "per_core_of_all": hits / everyone}
