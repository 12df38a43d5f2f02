"""An example for every answer, made from the classes that make the answers: none can lack a field."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel
from standardwebhooks import Webhook

from services.status.openapi.shapes import Json
from shared.lifecycle import DeliveryStatus, ImageState, Outcome, RequestStatus
from shared.recipe import Mode, TargetFormat
from shared.schemas import accounts_api, api, deliveries_api, report_api
from shared.schemas.accounts import KeyScope

SERVER = "https://halftone.example"
ID = UUID("01a1faad-e467-7ee5-92ab-f7ccec468bdf")
EVENT = UUID("01a1faad-eb8f-734c-b597-702677acef07")
DELIVERY = UUID("01a1faad-eb90-7c52-8f0e-2b1f6f3a90d4")
OF_SOURCE = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
OF_RENDITION = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
BEGUN = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
HOOK = "https://shop.example/hooks/halftone"
SECRET = f"whsec_{'x' * 43}="
TOKEN = "MjAyNi0wMy0wMVQwOTozMDowMFo"  # noqa: S105 - of a page


def _json(shape: BaseModel) -> Json:
    return shape.model_dump(mode="json")


def _request(status: RequestStatus, *, run: int = 1, completed: int = 0, failed: int = 0) -> dict[str, Any]:
    """The fields of a request of three images."""
    done = completed + failed
    running = status == RequestStatus.PROCESSING and done > 0
    ended = status in {RequestStatus.COMPLETED, RequestStatus.FAILED, RequestStatus.CANCELLED}
    source, rendition = 461_000 * completed, 156_000 * completed
    path = f"{SERVER}/v1/requests/{ID}"
    names = ("products", "images", "rejected", "report", "events", "deliveries")
    links = {name: f"{path}/{name}" for name in names}
    return {
        "request_id": ID,
        "run": run,
        "status": status,
        "outcome": (Outcome.PARTIAL if failed else Outcome.SUCCESS) if ended else None,
        "progress": round(done / 3, 3),
        "products": 2,
        "images": api.ImageCounts(total=3, pending=3 - done, completed=completed, failed=failed, cancelled=0),
        "bytes": api.ByteCounts(
            source=source,
            rendition=rendition,
            saved=source - rendition,
            saved_ratio=round(1 - rendition / source, 3) if source else None,
        ),
        "options": api.Options(quality=60, mode=Mode.ABSOLUTE, format=TargetFormat.KEEP, max_side=1600),
        "webhook_url": HOOK,
        "created_at": BEGUN,
        "started_at": BEGUN + timedelta(milliseconds=120) if status != RequestStatus.PENDING else None,
        "finished_at": BEGUN + timedelta(seconds=4) if ended else None,
        "eta_seconds": 2 if running else None,
        "images_per_second": 1.14 if running else None,
        "links": api.Links(self=path, output_csv=f"{path}/output.csv", outputs_zip=f"{path}/outputs.zip", **links),
    }


PENDING = _request(RequestStatus.PENDING)
PROCESSING = api.Request(**_request(RequestStatus.PROCESSING, completed=1))
COMPLETED = api.Request(**_request(RequestStatus.COMPLETED, completed=2, failed=1))
RETRIED = api.Request(**_request(RequestStatus.PENDING, run=2, completed=2))
ROW_ERROR = api.RowError(
    row=2,
    line=3,
    column="Input Image Urls",
    url_index=2,
    code="invalid_url",
    detail="A URL must begin with http:// or https://.",
    value="ftp://files.example/hat.jpg",
)
PICTURE = {"format": "jpeg", "width": 1200, "height": 900}
OUTPUT_URL = f"{SERVER}/files/{ID}/out/{OF_RENDITION}.jpg"
IMAGE = {
    "number": 1,
    "url": "https://cdn.example/shirt-front.jpg",
    "status": ImageState.COMPLETED,
    "output_url": OUTPUT_URL,
    "error": None,
    "attempts": 1,
    "source": api.Picture(bytes=461_000, sha256=OF_SOURCE, **PICTURE),
    "rendition": api.Rendition(bytes=156_000, sha256=OF_RENDITION, quality=60, kept_original=False, **PICTURE),
}
FAILED = IMAGE | {
    "number": 2,
    "url": "https://cdn.example/shirt-back.jpg",
    "status": ImageState.FAILED,
    "output_url": None,
    "error": api.Failure(code="http_status", detail="The host answered 404."),
    "source": None,
    "rendition": None,
}
PRODUCT = api.Product(
    row=1,
    serial_number="1",
    name="Shirt",
    images=[api.ProductImage(position=1, **IMAGE), api.ProductImage(position=2, **FAILED)],
)
REDELIVERY = {
    "id": DELIVERY,
    "event_id": EVENT,
    "type": "request.completed",
    "url": HOOK,
    "status": DeliveryStatus.PENDING,
    "next_attempt_at": BEGUN + timedelta(minutes=5),
}
WEBHOOK_EVENT = {
    "type": "request.completed",
    "timestamp": api.timestamp(COMPLETED.finished_at),
    "data": _json(COMPLETED),
}
BODY, SENT = orjson.dumps(WEBHOOK_EVENT).decode(), BEGUN + timedelta(seconds=5)
ATTEMPT = deliveries_api.Attempt(
    number=1,
    at=SENT,
    status_code=503,
    error="HTTP 503",
    duration_ms=84,
    response_excerpt="away",
    request_headers=deliveries_api.RequestHeaders.model_validate(
        {
            "webhook-id": str(EVENT),
            "webhook-timestamp": str(int(SENT.timestamp())),
            "webhook-signature": Webhook(SECRET).sign(str(EVENT), SENT, BODY),
        }
    ),
)
KEY = {
    "key_id": "k7x2m4q5w3zt",
    "prefix": "ht_k7x2m4q5w3zt",
    "scopes": [KeyScope.READ, KeyScope.WRITE],
    "created_at": BEGUN,
    "expires_at": BEGUN + timedelta(days=90),
    "revoked_at": None,
    "last_used_at": None,
}
ACCOUNT = accounts_api.Account(
    name="shop",
    key_id="k7x2m4q5w3zt",
    scopes=[KeyScope.READ, KeyScope.WRITE],
    limits=accounts_api.Limits(
        calls_per_second=50, uploads_per_minute=60, open_requests=20, images_per_day=2_000_000, stored_bytes=None
    ),
    usage=accounts_api.Usage(
        open_requests=1,
        images_today=3_000,
        day_ends_at=datetime(2026, 3, 2, tzinfo=UTC),
        stored_bytes=151_234_567,
    ),
)
AUDIT_ENTRY = accounts_api.AuditEntry(
    id=EVENT,
    at=BEGUN,
    actor="k7x2m4q5w3zt",
    action="key.created",
    target="q4w5e6r7t2zu",
    detail={"scopes": ["read", "write"]},
)
HOST = report_api.Host(host="cdn.example", images=3, failed=1, median_ms=84, p95_ms=412)
REPORT = report_api.Report(
    request_id=ID,
    run=1,
    status=RequestStatus.COMPLETED,
    as_of=BEGUN + timedelta(seconds=9),
    formats=[
        report_api.FormatPair(
            source_format="jpeg", rendition_format="jpeg", images=2, source_bytes=922_000, rendition_bytes=312_000
        )
    ],
    savings=[
        report_api.SavingsRange(**{"from": step / 20, "to": (step + 1) / 20}, images=2 if step == 13 else 0)
        for step in range(report_api.SAVINGS)
    ],
    kept_original=0,
    failures=[report_api.FailureCount(code="http_status", images=1)],
    hosts=report_api.Hosts(total=1, slowest=[HOST], most_failing=[HOST]),
    throughput=report_api.Throughput(
        interval_seconds=1,
        points=[report_api.ThroughputPoint(at=BEGUN + timedelta(seconds=3), completed=2, failed=1)],
    ),
)
UPLOAD = {
    "products": [
        {
            "serial_number": "1",
            "name": "Shirt",
            "image_urls": ["https://cdn.example/shirt-front.jpg", "https://cdn.example/shirt-back.jpg"],
        }
    ],
    "quality": 60,
    "max_side": 1600,
}
SHOWN: dict[str, dict[str, BaseModel]] = {
    "Request": {"processing": PROCESSING, "completed": COMPLETED, "retried": RETRIED},
    "Accepted": {
        "accepted": api.Request(**PENDING),
        "skipped_a_row": api.Accepted(**PENDING, errors=[ROW_ERROR], error_count=1),
    },
    "Validation": {
        "valid": api.Validation(valid=True, products=2, images=3, errors=[], error_count=0),
        "invalid": api.Validation(valid=False, products=1, images=2, errors=[ROW_ERROR], error_count=1),
    },
    "RowError": {"row_error": ROW_ERROR},
    "Image": {"completed": api.Image(**IMAGE), "failed": api.Image(**FAILED)},
    "Product": {"product": PRODUCT},
    "Redelivery": {"redelivery": deliveries_api.Redelivery(**REDELIVERY)},
    "Delivery": {"delivery": deliveries_api.Delivery(**REDELIVERY, body=BODY, attempts=[ATTEMPT])},
    "Report": {"report": REPORT},
    "OlderStatus": {
        "status": api.OlderStatus(
            request_id=ID,
            status="completed",
            progress=1.0,
            total_images=3,
            processed_images=3,
            output_csv_url=f"{SERVER}/v1/requests/{ID}/output.csv",
        )
    },
    "Account": {"account": ACCOUNT},
    "Key": {"key": accounts_api.Key(**KEY)},
    "NewKey": {"new_key": accounts_api.NewKey(**KEY, key=f"ht_k7x2m4q5w3zt_{'x' * 43}")},
    "SigningSecret": {
        "rotated": accounts_api.SigningSecret(signing_secret=SECRET, previous_until=BEGUN + timedelta(hours=24))
    },
    "AuditEntry": {"entry": AUDIT_ENTRY},
}
EXAMPLES: dict[str, dict[str, Any]] = {
    **{shape: {name: _json(one) for name, one in named.items()} for shape, named in SHOWN.items()},
    **{
        f"{shape}Page": {"page": {"items": [_json(one) for one in list(named.values())[:2]], "next_page_token": None}}
        for shape, named in SHOWN.items()
    },
    "Upload": {"upload": UPLOAD},
    "OlderUpload": {"upload": UPLOAD},
    "KeyOrder": {"reader": {"scopes": ["read"], "expires_at": None}},
    "RotationOrder": {"an_hour": {"overlap_seconds": 3600}},
    "WebhookEvent": {"completed": WEBHOOK_EVENT},
    "Event": {
        "progress": {"id": "1-1-4b825dc6", "event": "progress", "data": PROCESSING.model_dump_json()},
        "done": {"id": "1-3-9ae1c2f0", "event": "done", "data": COMPLETED.model_dump_json()},
    },
}
"""By shape, then by name."""
CSV = (
    "S. No.,Product Name,Input Image Urls\n"
    '1,Shirt,"https://cdn.example/shirt-front.jpg,https://cdn.example/shirt-back.jpg"\n'
)
OUTPUT_CSV = (
    "S. No.,Product Name,Input Image Urls,Output Image Urls\r\n"
    f'1,Shirt,"https://cdn.example/shirt-front.jpg,https://cdn.example/shirt-back.jpg","{OUTPUT_URL},"\r\n'
)
TEXTS = {"text/csv": OUTPUT_CSV, "application/zip": "PK (the bytes of a zip: Shirt/1.jpg, ...)"}
"""Of answers that are no JSON, by media type; what is no text is described."""
HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Range": "bytes 0-1023/156000",
    "ETag": 'W/"4b825dc6"',
    "Idempotent-Replayed": "true",
    "Location": f"{SERVER}/v1/requests/{ID}",
    "Retry-After": 1,
    "WWW-Authenticate": 'Bearer realm="halftone"',
}
