"""Capacity on paper: what a rate of images needs of each resource, from the measured cost of one image."""

from dataclasses import dataclass
from typing import Any

from tests.bench.markdown import table
from tests.bench.pictures import CLASSES

RATES = (1_000, 5_000, 20_000)
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Resource:
    """`use` is what one image takes of it; `room` is what one unit of it gives in a second (the assumption: `of`)."""

    name: str
    unit: str
    use: float
    room: float
    of: str
    then: str

    def share(self, rate: float) -> float:
        return rate * self.use / self.room


def resources(counts: dict[str, Any], source_bytes: float) -> list[Resource]:
    """From the counted figures of one class."""
    uses = _uses(counts, source_bytes)
    return [Resource(name, unit, uses[name], room, of, then) for name, unit, room, of, then in ROOMS]


def _uses(counts: dict[str, Any], source_bytes: float) -> dict[str, float]:
    per_image: dict[str, float] = counts["counts"]
    blobs = per_image.get("blob_bytes", 0.0)
    return {
        VALKEY: counts["cpu_ms"]["valkey"]["median"],
        CPU: counts["cpu_ms"]["postgres"]["median"],
        WAL: per_image["wal_bytes"] / 1e3,
        ROWS: per_image["rows_inserted"] + per_image["rows_updated"],
        COMMITS: per_image["transactions"],
        STORE: (blobs + source_bytes) / 1e3,
        DISK: blobs / 1e3,
        HOSTS: source_bytes / 1e3,
    }


VALKEY, CPU, WAL, ROWS = "Valkey's thread", "PostgreSQL's CPU", "PostgreSQL's WAL", "row versions"
COMMITS, STORE, DISK, HOSTS = (
    "commits",
    "network of the blob store",
    "disk of one blob folder",
    "network from the hosts",
)
ROOMS = (
    (
        VALKEY,
        "ms of CPU",
        1_000,
        "one thread executes all commands",
        "A Valkey for each group of accounts: two requests need not share one, and nothing in it must survive.",
    ),
    (
        CPU,
        "ms of CPU",
        16_000,
        "a server with 16 cores",
        "Status reads go to a replica; then several databases, by account: no statement joins two accounts.",
    ),
    (
        WAL,
        "kB",
        200_000,
        "200 MB/s, with a replica that keeps up",
        "`wal_compression` and longer checkpoints (fewer full-page images); then several databases, by account.",
    ),
    (
        ROWS,
        "rows",
        50_000,
        "50,000 a second that one primary writes and vacuums",
        (
            "Partitions of `image` by the time of the request, so that old ones are dropped and not deleted; then "
            "several databases, by account."
        ),
    ),
    (
        COMMITS,
        "transactions",
        5_000,
        "5,000 durable commits a second, grouped",
        "Larger batches, then several databases, by account.",
    ),
    (
        STORE,
        "kB",
        1_100_000,
        "10 Gbit/s; sources are written, read once, and renditions written",
        "A bucket (`BLOB_URL=s3://...`), which all workers use side by side; `/files` then redirects to it.",
    ),
    (
        DISK,
        "kB",
        1_000_000,
        "1 GB/s of synced writes",
        "A bucket; or sources on each worker's own disk, since only renditions must outlive it.",
    ),
    (
        HOSTS,
        "kB",
        1_100_000,
        "10 Gbit/s of one machine",
        "It spreads over the workers' machines; a shared NAT or firewall in front of them is then the limit.",
    ),
)


def cores(counts: dict[str, Any]) -> dict[str, float]:
    """CPU milliseconds of one image that grow by adding machines: codec and everything else, without servers."""
    cpu = {role: found["median"] for role, found in counts["cpu_ms"].items() if role not in ("client", "origin")}
    servers = sum(cpu.get(role, 0.0) for role in ("postgres", "valkey"))
    codec = cpu.get("codec children", 0.0)
    return {
        "codec": codec,
        "workers": cpu.get("worker", 0.0),
        "servers": servers,
        "others": sum(cpu.values()) - codec - cpu.get("worker", 0.0) - servers,
    }


def capacity(counts: dict[str, Any]) -> str:
    """The section: arithmetic on the measured cost of an image. The units are assumptions and stand in the table."""
    about = (
        "What a steady rate needs of each resource: rate x use of one image / what one unit gives. The uses are "
        "measured (above); the units are assumptions, written beside them.\n\n"
    )
    return about + "\n".join(_of_class(kind, one) for kind, one in counts.items())


def _of_class(kind: str, one: dict[str, Any]) -> str:
    ranked = sorted(resources(one, CLASSES[kind].bytes), key=lambda resource: -resource.share(1))
    head = ("resource", "an image", "one unit", *(f"{rate:,}/s" for rate in RATES), "one unit is full at")
    rows = [
        (
            resource.name,
            f"{resource.use:.3g} {resource.unit}",
            resource.of,
            *(_share(resource.share(rate)) for rate in RATES),
            _full_at(resource),
        )
        for resource in ranked
    ]
    full = [resource for resource in ranked if resource.share(RATES[-1]) > 1]
    then = "\n".join(f"- **{resource.name}** (full at {_full_at(resource)}): {resource.then}" for resource in full)
    return (
        f"### {CLASSES[kind].title}\n\n{table(head, rows)}\n"
        f"The first to be full is {ranked[0].name}. {_machines(one)}\n\n"
        f"What to do, in the order in which they fill up to {RATES[-1]:,}/s:\n\n{then or 'Nothing is full.'}\n"
    )


def _machines(one: dict[str, Any]) -> str:
    """Cores, and what is stored in a day."""
    spent, per_image = cores(one), one["counts"]
    parts = ", ".join(f"{name} {milliseconds:.2f} ms" for name, milliseconds in spent.items())
    needed = ", ".join(f"{rate * sum(spent.values()) / 1000:,.0f} at {rate:,}/s" for rate in RATES)
    rows = ", ".join(f"{rate * DAY * per_image['database_bytes'] / 1e9:,.0f} GB" for rate in RATES)
    blobs = ", ".join(f"{rate * DAY * per_image.get('blob_bytes', 0) / 1e12:,.1f} TB" for rate in RATES)
    return f"Cores in all ({parts}): {needed}. Stored in a day: {rows} of rows and {blobs} of blobs."


def _full_at(resource: Resource) -> str:
    return f"{resource.room / resource.use:,.0f}/s" if resource.use > 0 else "never"


def _share(share: float) -> str:
    return f"**{share:.1f} units**" if share > 1 else f"{share:.0%}"
