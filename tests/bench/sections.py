"""The sections of docs/performance.md: measured data in, Markdown out."""

from typing import Any

from tests.bench.markdown import spread, table
from tests.bench.pictures import CLASSES

Data = dict[str, Any]


def speed(data: Data) -> str:
    head = ("class", "bare Pillow", "the same, memory kept (the limit)", "the journey", "the peer", "journey : bare",
            "**journey : limit**", "journey : peer", "n")  # fmt: skip
    rows = [
        (
            CLASSES[name].title,
            spread(one["bare"]) + "/s",
            spread(one["kept"]) + "/s",
            spread(one["journey"]) + "/s",
            spread(one["peer"]) + "/s" if "peer" in one else "",
            spread(one["against_bare"], "{:.2f}"),
            f"**{spread(one['against_kept'], '{:.2f}')}**",
            spread(one["against_peer"], "{:.2f}") if "peer" in one else "",
            one["journey"]["n"],
        )
        for name, one in data["classes"].items()
    ]
    text = """\
*The limit* is Pillow's own decoder and encoder at quality 50 (PNG: its default encoder), one process for each core,
files in memory, results thrown away. By default Pillow frees its memory after each picture; the second column keeps it,
which is faster and is what counts. *The journey* is one request through the gateway with new URLs, from the 202 to
terminal. *The peer* is Celery (prefork, two processes for each core, late acknowledgement, prefetch), SQLAlchemy,
requests and Pillow with kept memory: one task and one commit for each image, on the same PostgreSQL and Valkey with the
same settings, its output written to disk; its clock begins when all rows are stored, and enqueueing runs beside its
workers.
"""
    return text + "\n" + table(head, rows)


def photograph(data: Data) -> str:
    """What drawn pictures cost beside a real photograph, and bare Pillow's cost of each class."""
    check = data["photograph"]
    real, drawn = check["photograph"], check["drawn"]
    width, height = check["size"]
    text = (
        f"Beside the portrait that matplotlib brings ({width} x {height}, {check['source_bytes'] / 1e3:.0f} kB at "
        f"quality 92), drawn pictures with its size and bytes take {drawn['cpu_ms']:.2f} ms of CPU to decode and "
        f"encode (the photograph: {real['cpu_ms']:.2f} ms) and give {drawn['bytes'] / 1e3:.1f} kB at quality 50 (the "
        f"photograph: {real['bytes'] / 1e3:.1f} kB).\n"
    )
    rows = [
        (
            CLASSES[name].title,
            f"{one['source_bytes'] / 1e3:.0f} kB",
            f"{one['limit_bytes'] / one['source_bytes']:.2f}",
            f"{one['kept cpu ms']['median']:.1f} ms",
            f"{one['kept cpu ms']['median'] * 1e6 / one['source_bytes']:.0f} ns",
        )
        for name, one in data["classes"].items()
    ]
    return text + "\n" + table(("class", "source", "bytes at the limit", "CPU at the limit", "CPU a source byte"), rows)


COUNTS = (
    ("transactions", "transactions", 1, "{:.3f}"),
    ("rows_inserted", "rows inserted", 1, "{:.2f}"),
    ("rows_updated", "rows updated", 1, "{:.2f}"),
    ("hot_updates", "of these in place (HOT)", 1, "{:.2f}"),
    ("wal_bytes", "WAL, kB", 1e3, "{:.2f}"),
    ("database_bytes", "growth of the database, kB", 1e3, "{:.2f}"),
    ("messages", "messages", 1, "{:.3f}"),
    ("valkey_commands", "Valkey commands, those within Lua too", 1, "{:.2f}"),
    ("valkey_reads", "packets of commands to Valkey", 1, "{:.2f}"),
    ("disk_bytes", "bytes that processes wrote to disk, kB", 1e3, "{:.1f}"),
    ("blob_files", "blob files", 1, "{:.2f}"),
    ("blob_bytes", "blob bytes, kB", 1e3, "{:.1f}"),
)


def counts(data: Data) -> str:
    kinds = list(data)
    rows = [
        (title, *(show.format(data[kind]["counts"].get(name, 0.0) / unit) for kind in kinds))
        for name, title, unit, show in COUNTS
    ]
    first = table(("an image", *(CLASSES[kind].title for kind in kinds)), rows)
    roles = sorted(data[kinds[0]]["cpu_ms"].items(), key=lambda one: -one[1]["median"])
    cpu = [(role, *(spread(data[kind]["cpu_ms"][role], "{:.2f}") for kind in kinds)) for role, _ in roles]
    cpu.append(("**all but codec children, origin and client**",
                *(f"**{spread(data[kind]['outside_codec_ms'], '{:.2f}')}**" for kind in kinds)))  # fmt: skip
    rates = " and ".join(f"{spread(data[kind]['rate'])}/s" for kind in kinds)
    images = " and ".join(f"{data[kind]['images']:,}" for kind in kinds)
    about = (
        f"Over {data[kinds[0]]['runs']} requests of {images} images ({rates}), upload and a few polls included, from "
        "the counters of PostgreSQL, Valkey and the kernel; counts, not CPU, are less what an idle stack counts in the "
        "same time.\n\n"
    )
    named = "; ".join(f"{CLASSES[kind].title}: {_disk(data[kind]['counts'])}" for kind in kinds)
    first += f"\nBytes written to disk by process, kB an image: {named}.\n"
    return (
        about
        + first
        + "\nCPU milliseconds of one image by process:\n\n"
        + table(("process", *(CLASSES[kind].title for kind in kinds)), cpu)
        + "\nValkey commands an image by name: "
        + "; ".join(f"{CLASSES[kind].title}: {_commands(data[kind]['counts'])}" for kind in kinds)
        + ".\n"
    )


def _disk(found: dict[str, float]) -> str:
    named = {name.removeprefix("disk "): size / 1e3 for name, size in found.items() if name.startswith("disk ")}
    return ", ".join(f"{role} {size:.0f}" for role, size in sorted(named.items(), key=lambda one: -one[1]) if size >= 1)


def _commands(found: dict[str, float]) -> str:
    named = {name.removeprefix("command "): calls for name, calls in found.items() if name.startswith("command ")}
    most = sorted(named.items(), key=lambda one: -one[1])
    return ", ".join(f"{name} {calls:.2f}" for name, calls in most if calls >= 0.005)


def size(data: Data) -> str:
    sizes = sorted(data["sizes"], key=int)
    roles = sorted(data["sizes"][sizes[-1]]["peak_rss"], key=lambda role: -data["sizes"][sizes[-1]]["peak_rss"][role])
    rows = [
        (
            f"{int(one):,}",
            spread(data["sizes"][one]["rate"]) + "/s",
            data["sizes"][one]["rate"]["n"],
            *(f"{data['sizes'][one]['peak_rss'].get(role, 0) / 1e6:.0f}" for role in roles),
        )
        for one in sizes
    ]
    head = ("images", "images/s", "n", *(f"{role}, MB" for role in roles))
    return "Tiny images (about 2 kB), one request. Memory is the peak RSS of each named process.\n\n" + table(
        head, rows
    )


def huge(data: Data) -> str:
    rows = [
        (
            f"{int(images):,}",
            f"{one['bytes'] / 1e6:.1f} MB",
            spread(one["accepted"], "{:.2f}") + " s",
            spread(one["copied"], "{:.2f}") + " s",
            spread(one["against_copy"], "{:.2f}"),
            f"{one['ingest_peak_rss'] / 1e6:.0f} MB",
            one["accepted"]["n"],
        )
        for images, one in data["uploads"].items()
    ]
    head = ("images", "manifest", "202 after", "`COPY` of the same rows", "ratio", "ingest's peak RSS", "n")
    gets, unchanged = data["get_ms"], data["unchanged"]
    large, small = gets["large"], gets["small"]
    text = (
        f"\n`GET /v1/requests/{{id}}` while {data['images']:,} images run, from the first second after the 202: p50 "
        f"{large['median']:.1f} ms (greatest {large['max']:.0f}), the first twenty {gets['first_20_ms']:.1f} ms; of an "
        f"open request with ten images, in turn, {small['median']:.1f} ms. Ratio {gets['ratio']:.2f}.\n\n"
        f"Conditional GETs, {unchanged['share_304']:.0%} of them answered by 304: {unchanged['per_core']:,.0f} a "
        "second of the status process's CPU; with the CPU of PostgreSQL and the gateway, which also serve the running "
        f"request, {unchanged['per_core_of_all']:,.0f}.\n"
    )
    steps = table(("step", "seconds"), ((name, f"{seconds:.2f}") for name, seconds in data["seconds"].items()))
    copied = (
        "`COPY` reads prepared files of exactly the rows that the upload stored and writes them in one transaction "
        "into fresh tables of the same migrations (keys and indexes) in another database of the server.\n\n"
    )
    return copied + table(head, rows) + text + "\n" + steps


def latency(data: Data) -> str:
    load, alone, beside = data["load"], data["idle"], data["beside"]
    return (
        "From the first byte of the upload to terminal, polled every 5 ms (0.3 MP JPEGs): on an idle stack "
        f"**{spread(alone, times=1000)} ms** (n {alone['n']}); beside a request of {load['images']:,} images of the "
        f"same class **{spread(beside, times=1000)} ms** (n {beside['n']}; the large one was at "
        f"{load['progress_at_the_end']:.0%} afterwards).\n"
    )


def idle(data: Data) -> str:
    roles = sorted(data["pss"], key=lambda role: -data["pss"][role])
    rows = [(role, f"{data['cpu_percent'].get(role, 0):.2f}%", f"{data['pss'][role] / 1e6:.0f} MB") for role in roles]
    rows.append(
        ("**all**", f"**{sum(data['cpu_percent'].values()):.2f}%**", f"**{sum(data['pss'].values()) / 1e6:.0f} MB**")
    )
    start = f"\n`make run` to ready, second start: {spread(data['start'], '{:.1f}')} s (n {data['start']['n']}).\n"
    about = f"CPU of one core over {data['seconds']} s without work, after some; PSS divides shared pages.\n\n"
    return about + table(("process", "CPU", "PSS"), rows) + start


def fleet(data: Data) -> str:
    rows = [
        (
            workers,
            f"{one['images']:,}",
            spread(one["rate"]) + "/s",
            one["rate"]["n"],
            f"{one['busy']['median']:.0%}",
            f"{one['cpu_ms']['median']:.1f} ms",
            "the cores" if one["busy"]["median"] > 0.92 else "waiting for the origin",
        )
        for workers, one in data["workers"].items()
    ]
    head = ("workers", "images", "images/s", "n", "cores busy", "CPU an image", "limited by")
    about = f"One request of tiny images; the image host takes {data['delay_ms']} ms for each answer.\n\n"
    return about + table(head, rows)
