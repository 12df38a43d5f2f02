"""The JSON of the API as it arrives. Later versions of the service may add fields; they are kept."""

from typing import Literal, NotRequired, TypedDict

Status = Literal["pending", "processing", "completed", "failed", "cancelled"]
ImageStatus = Literal["pending", "completed", "failed", "cancelled"]
Sort = Literal["number", "saved", "-saved"]
TERMINAL = frozenset({"completed", "failed", "cancelled"})


class Options(TypedDict, total=False):
    """How to compress, and whom to tell; what is left out is the service's default."""

    quality: int
    mode: Literal["absolute", "relative", "bytes"]
    format: Literal["keep", "jpeg", "png", "webp", "avif"]
    max_side: int
    webhook_url: str
    on_invalid: Literal["reject", "skip"]


class ImageCounts(TypedDict):
    total: int
    pending: int
    completed: int
    failed: int
    cancelled: int


class ByteCounts(TypedDict):
    source: int
    rendition: int
    saved: int
    saved_ratio: float | None


class Recipe(TypedDict):
    quality: int
    mode: str
    format: str
    max_side: int | None


class RowError(TypedDict):
    """One fault in a manifest. `row` counts data rows from 1, the header is `line` 1."""

    row: int | None
    line: int | None
    column: str | None
    url_index: int | None
    code: str
    detail: str
    value: str | None


class Request(TypedDict):
    """A request, its progress and where to read more. `errors`: rows that `on_invalid=skip` left out."""

    request_id: str
    run: int
    status: Status
    outcome: Literal["success", "partial", "none"] | None
    progress: float
    products: int
    images: ImageCounts
    bytes: ByteCounts
    options: Recipe
    webhook_url: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    eta_seconds: int | None
    images_per_second: NotRequired[float | None]
    links: dict[str, str]
    errors: NotRequired[list[RowError]]
    error_count: NotRequired[int]


class Validation(TypedDict):
    valid: bool
    products: int
    images: int
    errors: list[RowError]
    error_count: int


class Failure(TypedDict):
    code: str
    detail: str | None


class Picture(TypedDict):
    bytes: int | None
    format: str | None
    width: int | None
    height: int | None
    sha256: str


class Rendition(Picture):
    quality: int | None
    kept_original: bool | None


class Image(TypedDict):
    number: int
    url: str
    status: ImageStatus
    output_url: str | None
    error: Failure | None
    attempts: int
    source: Picture | None
    rendition: Rendition | None


class ProductImage(Image):
    position: int


class Product(TypedDict):
    row: int
    serial_number: str
    name: str
    images: list[ProductImage]


RequestHeaders = TypedDict("RequestHeaders", {"webhook-id": str, "webhook-timestamp": str, "webhook-signature": str})
"""As they were sent; a receiver refuses them five minutes later. They sign the `body` of the delivery."""


class Attempt(TypedDict):
    number: int
    at: str
    status_code: int | None
    error: str | None
    duration_ms: int
    response_excerpt: str
    request_headers: RequestHeaders | None


class Redelivery(TypedDict):
    id: str
    event_id: str
    type: str
    url: str
    status: Literal["pending", "delivered", "stopped", "exhausted"]
    next_attempt_at: str | None


class Delivery(Redelivery):
    body: str
    attempts: list[Attempt]


class Limits(TypedDict):
    """None: without limit."""

    calls_per_second: int | None
    uploads_per_minute: int | None
    open_requests: int | None
    images_per_day: int | None
    stored_bytes: int | None


class Usage(TypedDict):
    open_requests: int
    images_today: int
    day_ends_at: str
    stored_bytes: int


class Account(TypedDict):
    """Whose key it is; `key_id` is None where no key is required."""

    name: str
    key_id: str | None
    scopes: list[str]
    limits: Limits
    usage: Usage
