"""The HTTP calls that change an account: its keys and its signing secret. Admins of the account make them."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from pydantic import ValidationError
from sqlmodel import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from services.ingest.accounts import administration
from services.ingest.body import limited
from services.ingest.context import IngestContext
from shared.http.authentication import KEY_ID
from shared.http.caller import caller_of
from shared.http.context import context_of
from shared.http.problems import Problem, not_found
from shared.schemas.accounts_api import KeyOrder, NewKey, Order, RotationOrder, SigningSecret
from shared.schemas.api import Shape

T = TypeVar("T")
AnyOrder = TypeVar("AnyOrder", bound=Order)
MAX_BODY = 10_000


async def create_key(http_request: HttpRequest) -> Response:
    order = await _ordered(http_request, KeyOrder)

    def work(session: Session, account: UUID, actor: str) -> NewKey:
        key, text = administration.create_key(session, account, order.scopes, expires_at=order.expires_at, actor=actor)
        return NewKey.of(key, key=text)

    return _json(await run_in_threadpool(_transact, http_request, work), 201)


async def rotate_key(http_request: HttpRequest) -> Response:
    order, key_id = await _ordered(http_request, RotationOrder), _key_id(http_request)
    overlap = timedelta(seconds=order.overlap_seconds)

    def work(session: Session, account: UUID, actor: str) -> NewKey:
        key, _, text = administration.rotate_key(session, account, key_id, overlap=overlap, actor=actor)
        return NewKey.of(key, key=text)

    return _json(await run_in_threadpool(_transact, http_request, work), 201)


def revoke_key(http_request: HttpRequest) -> Response:
    key_id = _key_id(http_request)
    _transact(
        http_request, lambda session, account, actor: administration.revoke_key(session, account, key_id, actor=actor)
    )
    return Response(None, 204)


def rotate_signing_secret(http_request: HttpRequest) -> Response:
    def work(session: Session, account: UUID, actor: str) -> SigningSecret:
        secret, until = administration.rotate_signing_secret(session, account, actor=actor)
        return SigningSecret(signing_secret=secret, previous_until=until)

    return _json(_transact(http_request, work))


def _transact(http_request: HttpRequest, work: Callable[[Session, UUID, str], T]) -> T:
    caller = caller_of(http_request)
    actor = caller.key_id or administration.NO_KEY
    database = context_of(http_request, IngestContext).database
    return database.transact(lambda session: work(session, caller.account_id, actor))


def _key_id(http_request: HttpRequest) -> str:
    """The id in the path. Raises Problem: 404; a malformed id is as unknown as any other."""
    text: str = http_request.path_params["key_id"]
    if not KEY_ID.fullmatch(text):
        raise not_found("key")
    return text


async def _ordered(http_request: HttpRequest, kind: type[AnyOrder]) -> AnyOrder:
    """What the JSON body asks for; without a body the defaults. Raises Problem: 400, 408, 413, 422.

    It needs no room on disk: a leaked key can be replaced while uploads take all of it.
    """
    settings = context_of(http_request, IngestContext).settings
    body = b"".join([chunk async for chunk in limited(http_request, settings, None, MAX_BODY, MAX_BODY)])
    try:
        return kind.model_validate_json(body or b"{}")
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, found["loc"]))
        raise Problem(422, "invalid_option", f"{place or 'The body'}: {found['msg']}.") from None


def _json(shape: Shape, status: int = 200) -> Response:
    return Response(shape.model_dump_json(), status, media_type="application/json")


ROUTES = (
    Route("/v1/keys", create_key, methods=["POST"]),
    Route("/v1/keys/{key_id}/rotate", rotate_key, methods=["POST"]),
    Route("/v1/keys/{key_id}", revoke_key, methods=["DELETE"]),
    Route("/v1/account/signing-secret/rotate", rotate_signing_secret, methods=["POST"]),
)
