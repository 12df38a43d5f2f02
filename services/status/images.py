"""The SELECTs of images: one of them, those of a product's page, and lists with their orders and filters."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, Integer, any_, literal, not_, true
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from shared.lifecycle import IMAGES_PER_GROUP, ImageState, group_of
from shared.schemas.tables import Image, ImageGroup, ProcessingRequest

ID, OWNER = col(ProcessingRequest.id), col(ProcessingRequest.account_id)


class ImageOrder(StrEnum):
    """By number, or by the bytes that the rendition saves; images without one come last in both of those."""

    NUMBER = "number"
    LEAST_SAVED = "saved"
    MOST_SAVED = "-saved"


class ImageFilter(NamedTuple):
    """Which images are listed; None: all."""

    state: ImageState | None
    kept_original: bool | None


def find_image(session: Session, account: UUID, request_id: UUID, number: int) -> tuple[Image, datetime | None] | None:
    """An image, and when the sources of its request were deleted."""
    query = (
        select(Image, ProcessingRequest.sources_deleted_at)
        .join(ProcessingRequest, col(Image.request_id) == ID)
        .where(account == OWNER, Image.request_id == request_id, Image.number == number)
    )
    row = session.exec(query).first()
    return (row[0], row[1]) if row else None


def list_images(session: Session, request_id: UUID, *, only: ImageFilter, after: int, limit: int) -> list[Image]:
    """By number."""
    if only.state is not None and only.kept_original is None:
        return _images_in_state(session, request_id, only.state, after=after, limit=limit)
    number = col(Image.number)
    query = _images(request_id, only).where(number > after).order_by(number).limit(limit)
    return as_of_run(session, request_id, session.exec(query))


def list_images_by_saved(
    session: Session,
    request_id: UUID,
    *,
    order: ImageOrder,
    only: ImageFilter,
    after: tuple[int | None, int] | None,
    limit: int,
) -> list[Image]:
    """Each page reads all images: an index on what they save would have to be written by every settle."""
    query, number = _images(request_id, only), col(Image.number)
    saves: Any = col(Image.source_bytes) - col(Image.rendition_bytes)
    most_first = order is ImageOrder.MOST_SAVED
    if after is not None:
        saved, last = after
        if saved is None:
            query = query.where(saves.is_(None), number > last)
        else:
            beyond = saves < saved if most_first else saves > saved
            query = query.where(beyond | ((saves == saved) & (number > last)) | saves.is_(None))
    direction = saves.desc() if most_first else saves.asc()
    query = query.order_by(direction.nulls_last(), number).limit(limit)
    return as_of_run(session, request_id, session.exec(query))


def saved_by(image: Image) -> int | None:
    """The bytes that the rendition has less than the source; None without a rendition."""
    if image.source_bytes is None or image.rendition_bytes is None:
        return None
    return image.source_bytes - image.rendition_bytes


def _images(request_id: UUID, only: ImageFilter) -> SelectOfScalar[Image]:
    query = select(Image).where(Image.request_id == request_id)
    if only.state is not None:
        query = query.where(is_in(only.state, run_of(request_id)))
    return query if only.kept_original is None else query.where(col(Image.kept_original).is_(only.kept_original))


def _images_in_state(session: Session, request_id: UUID, state: ImageState, *, after: int, limit: int) -> list[Image]:
    """Searches only groups that count such an image: to find five failures, a million images need not be read.

    An index on the state would cost more: every claim and every settle would have to write it. The limit on groups
    holds whatever the planner knows: without it, a sort by number may search all groups of the request.
    """
    groups = (
        select(col(ImageGroup.number))
        .where(ImageGroup.request_id == request_id, ImageGroup.number >= group_of(after + 1), _counts_any(state))
        .order_by(col(ImageGroup.number))
        .limit(limit + 1)  # all such images of the first may be on earlier pages; each other group has at least one
        .subquery("groups")
    )
    first = (groups.c.number - 1) * IMAGES_PER_GROUP
    of_group = (
        select(Image)
        .where(
            Image.request_id == request_id,
            col(Image.number).between(first + 1, first + IMAGES_PER_GROUP),
            Image.number > after,
            is_in(state, run_of(request_id)),
        )
        .order_by(col(Image.number))
        .limit(limit)
        .lateral("of_group")  # with a limit of its own, or the planner may read all images
    )
    image = aliased(Image, of_group)
    query = select(image).select_from(groups).join(of_group, true()).order_by(col(image.number)).limit(limit)
    return as_of_run(session, request_id, session.exec(query))


def _counts_any(state: ImageState) -> Any:
    """The group has an image in this state."""
    settled = {name: col(getattr(ImageGroup, name)) for name in ("completed", "failed", "cancelled")}
    if state is ImageState.PENDING:
        return sum(settled.values()) < col(ImageGroup.images)
    return settled[state] > 0


def images_by_number(session: Session, request_id: UUID, numbers: Iterable[int]) -> dict[int, Image]:
    query = select(Image).where(Image.request_id == request_id, col(Image.number) == any_of(numbers))
    return {image.number: image for image in as_of_run(session, request_id, session.exec(query))}


def run_of(request_id: UUID) -> Any:
    """The request's run, read once in a statement."""
    return select(ProcessingRequest.run).where(request_id == ID).scalar_subquery()


def is_of_earlier_run(run: Any) -> Any:
    """Whether an image that failed is to be tried again: `retry` leaves it to dispatch to write it."""
    return col(Image.state).in_((ImageState.FAILED, ImageState.CANCELLED)) & (col(Image.run) < run)


def is_in(state: ImageState, run: Any) -> Any:
    """Whether an image is in this state in the request's run."""
    if state is ImageState.PENDING:
        return (col(Image.state) == state) | is_of_earlier_run(run)
    return (col(Image.state) == state) & not_(is_of_earlier_run(run))


def as_of_run(session: Session, request_id: UUID, images: Iterable[Image]) -> list[Image]:
    """The images as they are in the request's run."""
    found = list(images)
    failed = [image for image in found if image.state in {ImageState.FAILED, ImageState.CANCELLED}]
    run = session.exec(select(ProcessingRequest.run).where(request_id == ID)).one() if failed else 0
    for image in failed:
        if image.run < run:
            session.expunge(image)  # to be shown, not stored
            image.state, image.attempts, image.error_code, image.error_detail = ImageState.PENDING, 0, None, None
    return found


def any_of(numbers: Iterable[int]) -> Any:
    return any_(literal(list(numbers), ARRAY(Integer)))
