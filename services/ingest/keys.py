"""`python -m services.ingest.keys create|list|rotate|revoke|limits`: accounts and their API keys, for the operator.

DATABASE_URL names the database; on the local stack, `make key NAME=shop` sets it.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, NamedTuple, NoReturn

import orjson
import psycopg
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, col, select

from services.ingest.accounts import administration
from services.ingest.accounts.administration import CLI
from shared.db import Database, is_down
from shared.http.problems import Problem
from shared.schemas.accounts import Account, ApiKey, KeyScope, Limits
from shared.schemas.accounts_api import Key, NewKey
from shared.settings import Settings, error_lines, exit_with

UNITS = {"m": "minutes", "h": "hours", "d": "days"}
DURATION = re.compile(r"([1-9]\d{0,4})([mhd])")
DEFAULT_SCOPES = (KeyScope.READ, KeyScope.WRITE)
LIMITS = [field.name for field in fields(Limits)]
SMALL, LARGE = 2**31 - 1, 2**53
"""The largest limits: as the columns are, and as JavaScript reads them."""
UNCHANGED = object()
MAX_OVERLAP = timedelta(days=30)
Row = tuple[str, ApiKey]


class Said(NamedTuple):
    """What is printed once it is committed: to stdout, for programs too, and to stderr, for people."""

    printed: str
    explained: str = ""


def duration(text: str) -> timedelta:
    match = DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration like 30m, 24h or 90d")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def overlap(text: str) -> timedelta:
    """A duration of at most MAX_OVERLAP, or 0."""
    found = timedelta() if text == "0" else duration(text)
    if found > MAX_OVERLAP:
        raise argparse.ArgumentTypeError(f"{text!r} is longer than {MAX_OVERLAP.days}d")
    return found


def expiry(text: str) -> datetime:
    """A duration from now on, or a date: the key ends as that day begins (UTC)."""
    if DURATION.fullmatch(text):
        return datetime.now(UTC) + duration(text)
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration like 90d and no date like 2027-01-31") from None


def scopes(text: str) -> list[KeyScope]:
    try:
        return [KeyScope(name.strip()) for name in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of {', '.join(KeyScope)}, with commas") from None


def account_name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise argparse.ArgumentTypeError("the name of an account has 1 to 100 printable characters")
    return name


def limit(text: str, *, at_most: int) -> int | None:
    """A number, with `_` or without; None for `default`."""
    if text == "default":
        return None
    number = int(text) if re.fullmatch(r"[0-9][0-9_]*", text) else 0
    if not 0 < number <= at_most:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {at_most:,}, and not `default`")
    return number


def key_id(text: str) -> str:
    found = administration.named_key(text)
    if found is None:
        raise argparse.ArgumentTypeError("give the id of a key, ht_ and the id, or the whole key")
    return found


def create(session: Session, arguments: argparse.Namespace) -> Said:
    account = administration.account_named(session, arguments.name, actor=CLI)
    key, text = administration.create_key(
        session, account.id, arguments.scopes, expires_at=arguments.expires, actor=CLI
    )
    return _new(account.name, key, text, as_json=arguments.json)


def rotate(session: Session, arguments: argparse.Namespace) -> Said:
    name, found = _known(session, arguments.key)
    key, old, text = administration.rotate_key(
        session, found.account_id, found.id, overlap=arguments.overlap, actor=CLI
    )
    said = _new(name, key, text, as_json=arguments.json)
    return said._replace(explained=f"{said.explained}\nht_{old.id} {_ends(old)}")


def revoke(session: Session, arguments: argparse.Namespace) -> Said:
    name, found = _known(session, arguments.key)
    administration.revoke_key(session, found.account_id, found.id, actor=CLI)
    return Said("", f"ht_{found.id} of the account `{name}` is revoked; every process refuses it within 5 seconds")


def limits(session: Session, arguments: argparse.Namespace) -> Said:
    account = session.exec(select(Account.id).where(Account.name == arguments.name)).one_or_none()
    if account is None:
        raise LookupError(f"there is no account `{arguments.name}`; `create` makes one")
    changes = {name: value for name in LIMITS if (value := getattr(arguments, name)) is not UNCHANGED}
    own = asdict(administration.change_limits(session, account, changes, actor=CLI))
    if arguments.json:
        return Said(orjson.dumps(own).decode())
    width = max(map(len, LIMITS))
    return Said("\n".join(f"{name:{width}}  {'default' if own[name] is None else own[name]}" for name in LIMITS))


def show(session: Session, arguments: argparse.Namespace) -> Said:
    query = select(Account.name, ApiKey).join(ApiKey).order_by(Account.name, col(ApiKey.created_at), col(ApiKey.id))
    if arguments.name:
        query = query.where(Account.name == arguments.name)
    found = list(session.exec(query))
    if arguments.json:
        items = [{"account": name, **Key.of(key).model_dump(mode="json")} for name, key in found]
        return Said(orjson.dumps(items).decode())
    if not found:
        return Said("", "no keys yet: `create NAME` makes one")
    return Said("\n".join(table(found, now=datetime.now(UTC))))


def table(found: Sequence[Row], *, now: datetime) -> list[str]:
    """A line of headings and one for each key."""
    lines = [("ACCOUNT", "KEY", "SCOPES", "CREATED", "LAST USED", "STATE")]
    for name, key in found:
        used = _minute(key.last_used_at) if key.last_used_at else "never"
        state = _state(key, now=now)
        lines.append((name, f"ht_{key.id}", ",".join(key.scopes), _minute(key.created_at), used, state))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _state(key: ApiKey, *, now: datetime) -> str:
    if key.revoked_at:
        return f"revoked {_minute(key.revoked_at)}"
    if key.expires_at and key.expires_at <= now:
        return f"expired {_minute(key.expires_at)}"
    return _ends(key)


def _ends(key: ApiKey) -> str:
    return f"expires {_minute(key.expires_at)}" if key.expires_at else "does not expire"


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}Z"


def _known(session: Session, key_id: str) -> Row:
    query = select(Account.name, ApiKey).join(ApiKey).where(ApiKey.id == key_id)
    found = session.exec(query).one_or_none()
    if found is None:
        raise LookupError(f"there is no key ht_{key_id}; `list` shows all")
    return found[0], found[1]


def _new(account: str, key: ApiKey, text: str, *, as_json: bool) -> Said:
    scopes = ", ".join(key.scopes)
    explained = (
        f"a new key of the account `{account}` ({scopes}) that {_ends(key)}; it is shown this once. "
        "Send it as `Authorization: Bearer ...`"
    )
    return Said(NewKey.of(key, key=text).model_dump_json() if as_json else text, explained)


class OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        exit_with([f"{message}; --help shows how"])


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = OneLineParser(prog="python -m services.ingest.keys", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="create|list|rotate|revoke|limits")

    def command(name: str, act: Any, about: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=about, description=about)
        found.set_defaults(act=act)
        found.add_argument("--json", action="store_true", help="print JSON")
        return found

    making = command("create", create, "Make a key, and the account if there is none with this name.")
    making.add_argument("name", metavar="NAME", type=account_name, help="the account")
    making.add_argument("--scopes", type=scopes, default=DEFAULT_SCOPES, help="read,write,admin; read,write by default")
    making.add_argument("--expires", type=expiry, help="90d, or a date; never by default")
    listing = command("list", show, "List the keys, by account.")
    listing.add_argument("name", metavar="NAME", nargs="?", type=account_name, help="only of this account")
    rotating = command("rotate", rotate, "Make a new key with the same scopes; the old one ends after the overlap.")
    rotating.add_argument("--overlap", type=overlap, default=timedelta(days=1), help="24h by default, 0 for none")
    revoking = command("revoke", revoke, "End a key now.")
    limiting = command("limits", limits, "Print an account's own limits, after changing those that are given.")
    limiting.add_argument("name", metavar="NAME", type=account_name, help="the account")
    for name in LIMITS:
        kind = partial(limit, at_most=LARGE if name in {"images_per_day", "stored_bytes"} else SMALL)
        option, about = f"--{name.replace('_', '-')}", "or `default`: the setting's"
        limiting.add_argument(option, metavar="N", type=kind, default=UNCHANGED, help=about)
    for one in (rotating, revoking):
        one.add_argument("key", metavar="KEY", type=key_id, help="its id, ht_ and the id, or all of it")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Exit status 2, with one line that says why, where it could not be done."""
    chosen = parsed(arguments)
    try:
        database = Database(Settings().database_url, pool_size=1)
    except ValidationError as error:
        exit_with(error_lines(error))
    try:
        said: Said = database.transact(lambda session: chosen.act(session, chosen))
    except Problem as problem:
        exit_with([problem.detail])
    except LookupError as error:
        exit_with([str(error)])
    except (DBAPIError, psycopg.Error) as error:
        away = "the database cannot be reached" if is_down(error) else "the database refused it; is it migrated?"
        exit_with([f"{away} ({type(error).__name__})"])
    finally:
        database.close()
    sys.stderr.writelines(f"halftone: {line}\n" for line in said.explained.splitlines())
    sys.stderr.flush()
    sys.stdout.write(f"{said.printed}\n" if said.printed else "")


if __name__ == "__main__":
    main()
