"""Numbers, sizes and times as a person reads them. Pure."""

from datetime import UTC, datetime

UNITS = ("kB", "MB", "GB", "TB")


def size(count: int) -> str:
    """`151.2 MB`; decimal units, as the service's own."""
    if abs(count) < 1000:
        return f"{count} B"
    value = float(count)
    for unit in UNITS:
        value /= 1000
        if abs(value) < 999.5 or unit == UNITS[-1]:
            break
    return f"{value:,.1f} {unit}" if abs(value) < 99.95 else f"{value:,.0f} {unit}"


def number(count: int) -> str:
    return f"{count:,}"


def many(count: int, noun: str) -> str:
    """`1 image`, `2,000 images`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def seconds(count: float) -> str:
    """`0.4s`, `28s`, `1m 12s`, `2h 5m`, `3d 4h`."""
    if count < 9.95:
        return f"{count:.1f}s"
    whole = round(count)
    for unit, name, lower, rest in ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= unit:
            return f"{whole // unit}{name} {whole % unit // lower}{rest}"
    return f"{whole}s"


def left(count: int) -> str:
    """`5s left`: an estimate has no tenths."""
    return f"{count}s left" if count < 10 else f"{seconds(count)} left"


def ago(moment: str, *, now: datetime | None = None) -> str:
    """`3m ago`, in the largest unit alone."""
    passed = max(0, int(((now or datetime.now(UTC)) - at(moment)).total_seconds()))
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "m")):
        if passed >= unit:
            return f"{passed // unit}{name} ago"
    return f"{passed}s ago" if passed >= 5 else "just now"


def between(begin: str, end: str) -> str:
    return seconds((at(end) - at(begin)).total_seconds())


def at(moment: str) -> datetime:
    return datetime.fromisoformat(moment)
