"""The JSON calls that show an account: itself, its keys, its audit log."""

from dataclasses import fields
from datetime import datetime
from uuid import UUID

from sqlmodel import Session, col, select, tuple_
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from services.status import paging, params
from services.status.routes import PRIVATE, answer, page_of
from shared.http.caller import account_of, caller_of
from shared.http.context import Context, context_of
from shared.schemas import accounts_api
from shared.schemas.accounts import Account, ApiKey, AuditEntry, KeyScope, Limits
from shared.usage import usage

LIMITS = [getattr(Account, field.name) for field in fields(Limits)]


def get_account(http_request: HttpRequest) -> Response:
    caller, context = caller_of(http_request), context_of(http_request, Context)

    def read(session: Session) -> accounts_api.Account:
        query = select(Account.name, *LIMITS).where(Account.id == caller.account_id)
        name, *own = session.exec(query).one()
        limits = Limits(**dict(zip(Limits.__dataclass_fields__, own, strict=True))).over(context.settings.limits)
        return accounts_api.Account(
            name=name,
            key_id=caller.key_id,
            scopes=[scope for scope in KeyScope if scope in caller.scopes],
            limits=accounts_api.Limits.model_validate(limits, from_attributes=True),
            usage=accounts_api.Usage.model_validate(usage(session, caller.account_id), from_attributes=True),
        )

    return answer(context.database.transact(read), PRIVATE)


def list_keys(http_request: HttpRequest) -> Response:
    """Newest first."""
    account, size, before = account_of(http_request), params.size_of(http_request), params.key_before_of(http_request)
    found = context_of(http_request, Context).database.transact(
        lambda session: find_keys(session, account, before=before, limit=size + 1)
    )
    page, token = paging.cut(found, size, lambda last: paging.moment_token(last.created_at, last.id))
    return page_of([accounts_api.Key.of(key) for key in page], token)


def find_keys(session: Session, account: UUID, *, before: tuple[datetime, str] | None, limit: int) -> list[ApiKey]:
    made, key_id = col(ApiKey.created_at), col(ApiKey.id)
    query = select(ApiKey).where(ApiKey.account_id == account).order_by(made.desc(), key_id.desc()).limit(limit)
    if before is not None:
        query = query.where(tuple_(made, key_id) < before)
    return list(session.exec(query))


def list_audit(http_request: HttpRequest) -> Response:
    """Newest first; ids ascend with time."""
    account, size, before = account_of(http_request), params.size_of(http_request), params.before_of(http_request)
    query = select(AuditEntry).where(AuditEntry.account_id == account).order_by(col(AuditEntry.id).desc())
    if before is not None:
        query = query.where(col(AuditEntry.id) < before[1])
    found = context_of(http_request, Context).database.transact(
        lambda session: session.exec(query.limit(size + 1)).all()
    )
    page, token = paging.cut(found, size, lambda last: paging.moment_token(last.at, last.id))
    return page_of([accounts_api.AuditEntry.model_validate(entry, from_attributes=True) for entry in page], token)


ROUTES = [Route("/v1/account", get_account), Route("/v1/keys", list_keys), Route("/v1/audit", list_audit)]
