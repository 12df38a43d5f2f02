"""The public JSON of a request's report: figures over all of its images; one class per shape. Pure."""

from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field

from shared.lifecycle import RequestStatus
from shared.schemas.api import Count, FailureCode, Format, Number, Shape, Time

SAVINGS = 20
"""Ranges of the histogram, each of 5 %."""
MAX_HOSTS = 10
MAX_POINTS = 120
Ratio = Annotated[float, Field(json_schema_extra={"minimum": 0, "maximum": 1})]
Milliseconds = Annotated[Count | None, Field(description="Null where no fetch of this host was measured.")]


class FormatPair(Shape):
    """Completed images of one format that became renditions of one format, and their bytes."""

    source_format: Format | None
    rendition_format: Format | None
    images: Count
    source_bytes: Count
    rendition_bytes: Count


class SavingsRange(Shape):
    """How many completed images saved a part of their bytes between `from` (included) and `to`.

    The first range also counts those that grew, the last one those that saved all.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    from_: Ratio = Field(alias="from")
    to: Ratio
    images: Count


class FailureCount(Shape):
    """Images that failed in the current run, by the code of their error."""

    code: FailureCode
    images: Count


class Host(Shape):
    """A host, as the URLs spell it but in lower case, with its port where they name one.

    Times are those of the last fetch of each image, from its start to the whole body, failed ones too; images that were
    settled before this was measured have none.
    """

    host: str
    images: Count = Field(description="All that name this host, in any state.")
    failed: Count
    median_ms: Milliseconds
    p95_ms: Milliseconds


Hosts10 = Annotated[list[Host], Field(json_schema_extra={"maxItems": MAX_HOSTS})]


class Hosts(Shape):
    """Where the images come from."""

    total: Count
    slowest: Hosts10 = Field(description="Those with the longest 95th percentile; only hosts with a measured fetch.")
    most_failing: Hosts10 = Field(description="Those with the most failed images; only hosts with one.")


class ThroughputPoint(Shape):
    """Images of the current run that were settled in the interval that begins at `at`."""

    at: Time
    completed: Count
    failed: Count


class Throughput(Shape):
    """Intervals without a gap, from the start of the run to its end or to now."""

    interval_seconds: Number
    points: list[ThroughputPoint] = Field(
        description="Empty until the run has started. An image settled before times were kept is in none.",
        json_schema_extra={"maxItems": MAX_POINTS},
    )


class Report(Shape):
    """Figures over all images of a request, as one moment had them."""

    request_id: UUID
    run: Number
    status: RequestStatus
    as_of: Time
    formats: list[FormatPair] = Field(description="Most images first.")
    savings: list[SavingsRange] = Field(json_schema_extra={"minItems": SAVINGS, "maxItems": SAVINGS})
    kept_original: Count = Field(
        description="Completed images whose image data is the source's: no encoding of it was smaller."
    )
    failures: list[FailureCount] = Field(description="Most images first.")
    hosts: Hosts
    throughput: Throughput
