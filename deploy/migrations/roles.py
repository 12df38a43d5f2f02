"""What each service may do in the database, as a role of its own; the migrations' role alone owns the tables.

A role is named after its database and service (`halftone_status`). It is made where its password is set; where someone
else made it, it only gets its grants. Without any role all services use one login, which then may do everything.
"""

from collections.abc import Mapping

import psycopg
from psycopg import sql

ROWS = "SELECT, INSERT, UPDATE, DELETE"
GRANTS: Mapping[str, Mapping[str, str]] = {
    # Takes uploads, changes requests, manages keys. Images it can add and erase, never settle.
    "ingest": {
        "alembic_version": "SELECT",
        "account": "SELECT, INSERT, UPDATE",
        "account_usage": "SELECT, INSERT, UPDATE",
        "api_key": "SELECT, INSERT, UPDATE",
        "audit_entry": "SELECT, INSERT",
        "processing_request": ROWS,
        "product": "SELECT, INSERT, DELETE",
        "rejected_row": "SELECT, INSERT, DELETE",
        "image_group": ROWS,
        "image": "SELECT, INSERT, DELETE",
        "erasure": "SELECT, INSERT",
        "event": "SELECT",
        "delivery": "SELECT, UPDATE",
    },
    # Claims and settles images; adds and erases nothing.
    "worker": {
        "alembic_version": "SELECT",
        "processing_request": "SELECT, UPDATE",
        "image_group": "SELECT, UPDATE",
        "image": "SELECT, UPDATE",
        "store_identity": "SELECT",
    },
    # Finishes and erases requests and delivers; alone it reads signing secrets, besides ingest that makes them.
    "notifier": {
        "alembic_version": "SELECT",
        "account": "SELECT",
        "api_key": "SELECT, UPDATE (last_used_at)",
        "processing_request": "SELECT, UPDATE, DELETE",
        "product": "SELECT, DELETE",
        "rejected_row": "SELECT, DELETE",
        "image_group": "SELECT, UPDATE, DELETE",
        "image": "SELECT, UPDATE, DELETE",
        "erasure": ROWS,
        "event": "SELECT, INSERT",
        "delivery": "SELECT, INSERT, UPDATE",
        "delivery_attempt": "SELECT, INSERT, UPDATE",
        "broker_epoch": "SELECT, UPDATE",
        "store_identity": "SELECT",
    },
    # Reads, and no signing secret.
    "status": {
        "alembic_version": "SELECT",
        "account": "SELECT (id, name, calls_per_second, uploads_per_minute, open_requests, images_per_day,"
        " stored_bytes, kept_bytes, created_at)",
        "account_usage": "SELECT",
        "api_key": "SELECT",
        "audit_entry": "SELECT",
        "processing_request": "SELECT",
        "product": "SELECT",
        "rejected_row": "SELECT",
        "image_group": "SELECT",
        "image": "SELECT",
        "event": "SELECT",
        "delivery": "SELECT",
        "delivery_attempt": "SELECT",
    },
}
Connection = psycopg.Connection[tuple[object, ...]]


def role_of(service: str, database: str) -> str:
    """A cluster has its roles in common, so that each database has its own."""
    return f"{database}_{service}"


def grant(connection: Connection, passwords: Mapping[str, str]) -> None:
    """Make the roles whose passwords are given (by service) and give every role that exists exactly its grants.

    Raises:
        psycopg.Error: the login may not make roles, for example.

    """
    database = connection.info.dbname
    # What PostgreSQL grants everybody: temporary tables fill the disk, and a function with the rights of its owner must
    # not be put on a table of the caller's own, where it would run the caller's code with those rights.
    connection.execute(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
    connection.execute("REVOKE EXECUTE ON FUNCTION count_kept_bytes() FROM PUBLIC")
    for service, tables in GRANTS.items():
        role = role_of(service, database)
        exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        if service in passwords:
            _make(connection, role, passwords[service], exists=bool(exists))
        elif not exists:
            continue
        name = sql.Identifier(role)
        schema = sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}")
        connection.execute(schema.format(name))
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), name))
        for table, privileges in tables.items():
            granting = sql.SQL("GRANT {} ON {} TO {}")
            connection.execute(granting.format(sql.SQL(privileges), sql.Identifier(table), name))


def _make(connection: Connection, role: str, password: str, *, exists: bool) -> None:
    """The password is sent as the server stores it: a log of statements must not show it."""
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    verb = sql.SQL("ALTER" if exists else "CREATE")
    making = sql.SQL("{} ROLE {} LOGIN PASSWORD {}")
    connection.execute(making.format(verb, sql.Identifier(role), sql.Literal(verifier)))
