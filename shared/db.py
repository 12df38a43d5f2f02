"""PostgreSQL: how a process runs transactions, of several statements or of a hot one alone.

`transact` runs a function in one transaction and runs it again after a deadlock or a serialization failure, and where
the caller has `patience` also after a lost connection, so the function must do nothing but talk to the database.
`run` does the same for a function that sends a single statement. In one round trip instead of three, and planned once
a connection: for the statements that every batch of images sends.
"""

import math
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from threading import Lock
from typing import Any, LiteralString, TypeVar

import psycopg
from prometheus_client import Gauge
from psycopg.rows import dict_row
from sqlalchemy import Engine, PoolProxiedConnection, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool
from sqlmodel import Session, create_engine

T = TypeVar("T")
Connection = psycopg.Connection[Any]
Transaction = Session | Connection
"""Of several statements; or, on a connection of `Database.run`, each statement is one."""
RETRIED = {"40P01", "40001"}  # deadlock_detected, serialization_failure
OVERLOADED = RETRIED | {"57014", "55P03"}  # query_canceled (by statement_timeout), lock_not_available
TRIES = 5
PROBE_SECONDS = 2
PROBE_HOLDS = 1.0
"""Seconds for which the result of a probe is kept."""
IN_USE = Gauge(
    "halftone_database_connections_in_use",
    "Connections of the pool that work or wait for an answer: for whole transactions, or for single hot statements.",
    ["pool"],
)
LIMIT = Gauge("halftone_database_connections_limit", "Connections that the pool may open.", ["pool"])
BY_INDEX = "-c enable_seqscan=off"
"""No statement of ours wants a whole table, however large the part is that the planner believes it wants (ADR 11)."""
CUSTOM_PLANS = f"{BY_INDEX} -c plan_cache_mode=force_custom_plan"
"""A plan made when `image` was small would be kept, and read the million rows that were added since."""
KEPT_PLANS = f"{BY_INDEX} -c plan_cache_mode=force_generic_plan"
"""For statements that name both key columns: an index scan is right for tables of every size (ADR 11)."""


class Database:
    """`transact(work)`, `run(work)` or, for a read that streams, `engine` itself.

    `patience`: seconds to wait for a server that went away. A web request has none and answers 503 at once.
    `lock_timeout_ms`: to wait for the lock of another transaction, 0 for as long as the statement may take. Only web
    requests have one: workers and notifiers do the same again anyway.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 5,
        statement_timeout_ms: int = 30_000,
        lock_timeout_ms: int = 0,
        patience: float = 0,
    ) -> None:
        timeouts = {"statement_timeout": statement_timeout_ms, "lock_timeout": lock_timeout_ms}
        self._options = _options(timeouts)
        self.engine = _engine(url, pool_size, self._options, patience)
        self._hot = _engine(url, pool_size, _options(timeouts, hot=True), patience)
        for pool, engine in (("transactions", self.engine), ("statements", self._hot)):
            LIMIT.labels(pool).set(2 * pool_size)
            IN_USE.labels(pool).set_function(partial(_in_use, engine))
        self.patience = patience
        self._probing = Lock()
        self._probed_at = -math.inf
        self._answers = False

    def transact(self, work: Callable[[Session], T]) -> T:
        """Run `work` in a transaction and commit.

        Raises:
            sqlalchemy.exc.DBAPIError, its TimeoutError or psycopg.Error: among them a server that is away (`is_down`).

        """

        def once() -> T:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                return work(session)

        return self._repeated(once)

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, which sends one statement (`execute`), as a transaction of its own; raises what `transact` does.

        Whatever follows the statement in `work` comes after the commit.
        """

        def once() -> T:
            pooled = self._hot.raw_connection()
            connection = _psycopg(pooled)
            try:
                return work(connection)
            finally:
                if connection.closed:
                    pooled.invalidate()
                pooled.close()

        return self._repeated(once)

    def _repeated(self, once: Callable[[], T]) -> T:
        tries, until = 0, time.monotonic() + self.patience
        while True:
            tries += 1
            try:
                return once()
            except (DBAPIError, PoolTimeout, psycopg.Error) as error:
                if is_down(error) and time.monotonic() < until:
                    time.sleep(0.5)
                elif tries < TRIES and sqlstate(error) in RETRIED:
                    time.sleep(random.uniform(0.005, 0.05) * tries)  # noqa: S311 - jitter
                else:
                    raise

    async def connect(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        """A connection besides those of the pool, in autocommit mode, for the caller's event loop.

        Raises:
            psycopg.OperationalError: the server takes none.

        """
        arguments, options = self.engine.dialect.create_connect_args(self.engine.url)
        return await psycopg.AsyncConnection.connect(*arguments, **{**options, **self._options, "autocommit": True})

    def ping(self) -> None:
        """Raise psycopg.OperationalError unless the server takes a new connection, soon.

        Not one of the pool, for which the work waits. One probe at a time, and its result serves all callers that wait
        for it: probes do not pile up, however silent the server and however many the callers.
        """
        with self._probing:
            if time.monotonic() - self._probed_at > PROBE_HOLDS:
                self._answers = self._takes_a_connection()
                self._probed_at = time.monotonic()
            if not self._answers:
                raise psycopg.OperationalError("PostgreSQL takes no connection")

    def _takes_a_connection(self) -> bool:
        arguments, options = self.engine.dialect.create_connect_args(self.engine.url)
        try:
            psycopg.connect(*arguments, **{**options, "connect_timeout": PROBE_SECONDS}).close()
        except psycopg.Error:
            return False
        return True

    def close(self) -> None:
        self.engine.dispose()
        self._hot.dispose()


def _engine(url: str, pool_size: int, options: dict[str, Any], patience: float) -> Engine:
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=pool_size,  # so LIMIT is twice as many
        pool_timeout=10,
        pool_pre_ping=not patience,  # with patience, a stale connection is found out by the statement
        pool_recycle=900,
        hide_parameters=True,  # an error would quote them: URLs and secrets, in the log
        connect_args=options,
    )


def _in_use(engine: Engine) -> float:
    assert isinstance(engine.pool, QueuePool)
    return engine.pool.checkedout()


def _options(timeouts_ms: Mapping[str, int], *, hot: bool = False) -> dict[str, Any]:
    timeouts = {**timeouts_ms, "idle_in_transaction_session_timeout": 60_000}
    return {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        "autocommit": hot,
        "options": " ".join(
            [*(f"-c {name}={ms}" for name, ms in timeouts.items()), KEPT_PLANS if hot else CUSTOM_PLANS]
        ),
    }


def connection_of(session: Session) -> Connection:
    """The psycopg connection of the session's transaction, for COPY and hot statements."""
    return _psycopg(session.connection().connection)


def _psycopg(pooled: PoolProxiedConnection) -> Connection:
    assert isinstance(pooled.driver_connection, psycopg.Connection)
    return pooled.driver_connection


def execute(
    transaction: Transaction, sql: LiteralString, params: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Run one plain SQL statement (`%(name)s` parameters) and return its rows, if it returns any."""
    connection = connection_of(transaction) if isinstance(transaction, Session) else transaction
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(sql, params, prepare=True if connection.autocommit else None)
        return cursor.fetchall() if cursor.description else []


def allow_time(session: Session, seconds: int) -> None:
    """Let the statements of this transaction take longer than usual: a request may have a million rows."""
    execute(session, "SELECT set_config('statement_timeout', %(ms)s, true)", {"ms": str(seconds * 1000)})


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE of a psycopg error, bare or wrapped by SQLAlchemy."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    return origin.sqlstate if isinstance(origin, psycopg.Error) else None


def is_down(error: BaseException) -> bool:
    """Whether the server is away or shutting down, rather than too busy or the statement wrong."""
    if isinstance(error, PoolTimeout):  # every connection waits for an answer
        return True
    origin = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(origin, psycopg.OperationalError | psycopg.InterfaceError) and not is_overloaded(error)


def is_locked(error: BaseException) -> bool:
    """Whether another transaction held a lock for longer than this one may wait."""
    return sqlstate(error) == "55P03"


def is_overloaded(error: BaseException) -> bool:
    """Whether a statement took too long or lost against others: the same may succeed later."""
    return sqlstate(error) in OVERLOADED
