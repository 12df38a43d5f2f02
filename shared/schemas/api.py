"""The public JSON: one class per shape; answers, webhooks and the OpenAPI components are all made from it. Pure.

Ranges and codes stand in the schema only: an answer must not fail because a row holds an unexpected number.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from shared.errors import ImageError
from shared.formats import MEDIA_TYPES
from shared.lifecycle import ImageState, Outcome, RequestStatus, outcome
from shared.recipe import Mode, TargetFormat
from shared.schemas.progress import AnyRequest, eta_seconds, images_per_second, progress, shown
from shared.schemas.tables import ProcessingRequest

ROW_ERROR_CODES = (
    *("missing_header", "no_rows", "empty_name", "empty_serial_number", "duplicate_serial_number", "no_url"),
    *("invalid_url", "url_too_long", "too_many_urls", "too_many_images", "nul_byte", "unterminated_quote"),
    *("row_too_long", "not_csv"),
)


def error_codes(kind: type[ImageError]) -> set[str]:
    """The codes of an error class and of all its subclasses."""
    own = {kind.code} if hasattr(kind, "code") else set()
    return own.union(*map(error_codes, kind.__subclasses__()))


def timestamp(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds and `Z`."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one_of(*values: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": list(values)})


COUNT = {"type": "integer", "minimum": 0}
Count = Annotated[int, WithJsonSchema(COUNT)]
Number = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 1})]
Quality = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 95})]
Time = Annotated[datetime, PlainSerializer(timestamp), WithJsonSchema({"type": "string", "format": "date-time"})]
Uri = Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})]
Format = Annotated[str, _one_of(*MEDIA_TYPES)]
FailureCode = Annotated[str, _one_of(*sorted(error_codes(ImageError)))]


class Shape(BaseModel):
    """Every field is always there, null where it has no value; later versions may add fields."""

    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Settled images of a request and their bytes: its own counters plus those of its open groups."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    source_bytes: int = 0
    rendition_bytes: int = 0

    @property
    def settled(self) -> int:
        return self.completed + self.failed + self.cancelled


def counts_of(request: ProcessingRequest) -> Counts:
    """The request's own counters: all there is once no group is open."""
    return Counts(**{name: getattr(request, name) for name in Counts.__dataclass_fields__})


class ImageCounts(Shape):
    total: Count
    pending: Count
    completed: Count
    failed: Count
    cancelled: Count


class ByteCounts(Shape):
    source: Count
    rendition: Count
    saved: int
    saved_ratio: float | None


class Options(Shape):
    quality: Quality
    mode: Mode
    format: TargetFormat
    max_side: Number | None


class Links(Shape):
    self: Uri
    products: Uri
    images: Uri
    rejected: Uri
    report: Uri
    output_csv: Uri
    outputs_zip: Uri
    events: Uri
    deliveries: Uri


class Request(Shape):
    """A request, its progress and where to read more."""

    request_id: UUID
    run: Number = Field(description="1, plus one for each retry.")
    status: RequestStatus
    outcome: Outcome | None = Field(description="Null until the request is terminal.")
    progress: float = Field(json_schema_extra={"minimum": 0, "maximum": 1})
    products: Count
    images: ImageCounts
    bytes: ByteCounts
    options: Options
    webhook_url: str | None
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    eta_seconds: Count | None = Field(
        description="Until all images are settled, at `images_per_second`. Null while that is unknown."
    )
    images_per_second: float | None = Field(
        description="Images settled, over about the last minute or since the run started. Null before the first one, "
        "where nothing was settled of late, and once the request is terminal.",
        json_schema_extra={"exclusiveMinimum": 0},
    )
    links: Links

    @classmethod
    def of(cls, request: AnyRequest, counts: Counts, *, public_url: str, now: datetime) -> Self:
        status = RequestStatus(request.status)
        rate = images_per_second(request, counts.settled, now=now)
        return cls(
            request_id=request.id,
            run=request.run,
            status=status,
            outcome=outcome(status, completed=counts.completed, failed=counts.failed),
            progress=progress(request, counts.settled),
            products=request.products,
            images=ImageCounts(
                total=request.images,
                pending=request.images - counts.settled,
                completed=counts.completed,
                failed=counts.failed,
                cancelled=counts.cancelled,
            ),
            bytes=_bytes(counts),
            options=Options.model_validate(request, from_attributes=True),
            webhook_url=request.webhook_url,
            created_at=request.created_at,
            started_at=request.started_at,
            finished_at=request.finished_at,
            eta_seconds=eta_seconds(request, counts.settled, rate=rate),
            images_per_second=shown(rate),
            links=_links(f"{public_url}/v1/requests/{request.id}"),
        )


def request_view(request: AnyRequest, counts: Counts, *, public_url: str, now: datetime) -> dict[str, Any]:
    """The JSON of `Request.of`, to be put into another document."""
    return Request.of(request, counts, public_url=public_url, now=now).model_dump(mode="json")


class RowError(Shape):
    """One fault in an uploaded manifest."""

    row: Number | None = Field(description="Counts data rows from 1.")
    line: Number | None = Field(description="The line on which the record starts; the header is line 1.")
    column: str | None
    url_index: Number | None
    code: Annotated[str, _one_of(*ROW_ERROR_CODES)]
    detail: str
    value: str | None


RowErrors = Annotated[list[RowError], Field(json_schema_extra={"maxItems": 100})]


class Accepted(Request):
    """The request; with `on_invalid=skip` also the rows that were left out."""

    errors: RowErrors = Field(default_factory=list)
    error_count: Count = Field(default_factory=int)


class Validation(Shape):
    """The counts and the errors of a manifest that was only checked."""

    valid: bool
    products: Count
    images: Count
    errors: RowErrors
    error_count: Count


class Problem(Shape):
    """An error (RFC 9457); for a refused manifest also its first 100 row errors, for a quota how much of it is used."""

    type: str = Field(description="Leads to a page that says what happened and what to do.")
    title: str
    status: int
    detail: str
    code: str
    errors: RowErrors = Field(default_factory=list)
    error_count: Count = Field(default_factory=int)
    quota: Annotated[str, _one_of("open_requests", "images_per_day", "stored_bytes")] = Field(default_factory=str)
    limit: Count = Field(default_factory=int)
    used: Count = Field(default_factory=int)


class Failure(Shape):
    code: FailureCode
    detail: str | None


class Picture(Shape):
    bytes: Annotated[int | None, WithJsonSchema(COUNT)]  # the columns may be null, although no row leaves them so
    format: Format | None
    width: Number | None
    height: Number | None
    sha256: str


class Rendition(Picture):
    quality: Number | None
    kept_original: bool | None


class Image(Shape):
    """One distinct URL of a request; `source` and `rendition` are null until there is one."""

    number: Number
    url: str
    status: ImageState
    output_url: Uri | None
    error: Failure | None
    attempts: Count
    source: Picture | None
    rendition: Rendition | None


class Positioned(Shape):
    position: Number


class ProductImage(Image, Positioned):
    """An image at its position in a product."""


class Product(Shape):
    """A row of the manifest; an image may be at several positions."""

    row: Number
    serial_number: str
    name: str
    images: list[ProductImage]


class OlderStatus(Shape):
    """The answer of the two older contracts."""

    request_id: UUID
    status: Literal["pending", "processing", "completed", "failed"]
    progress: float
    total_images: Count
    processed_images: Count
    output_csv_url: Uri | None


def _bytes(counts: Counts) -> ByteCounts:
    saved = counts.source_bytes - counts.rendition_bytes
    ratio = round(saved / counts.source_bytes, 3) if counts.source_bytes else None
    return ByteCounts(source=counts.source_bytes, rendition=counts.rendition_bytes, saved=saved, saved_ratio=ratio)


def _links(self_url: str) -> Links:
    return Links(
        self=self_url,
        products=f"{self_url}/products",
        images=f"{self_url}/images",
        rejected=f"{self_url}/rejected",
        report=f"{self_url}/report",
        output_csv=f"{self_url}/output.csv",
        outputs_zip=f"{self_url}/outputs.zip",
        events=f"{self_url}/events",
        deliveries=f"{self_url}/deliveries",
    )
