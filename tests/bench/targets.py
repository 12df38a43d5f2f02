"""The targets of the project's issue "Fast", each with the function that reads its measured value from the results."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Value:
    """A measured value against its target: at least `target`, or at most where `at_most`."""

    measured: float
    target: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.measured <= self.target if self.at_most else self.measured >= self.target


@dataclass(frozen=True, slots=True)
class Row:
    """`read` takes the data of the figure `figure`; `show` formats a measured value."""

    title: str
    figure: str
    before: str
    target: str
    stretch: str
    read: Callable[[Data], list[Value]]
    show: str = "{:.2f}"


def _speed(name: str, key: str, target: float) -> Callable[[Data], list[Value]]:
    return lambda data: [Value(data["classes"][name][key]["median"], target)]


def _both(*reads: Callable[[Data], list[Value]]) -> Callable[[Data], list[Value]]:
    return lambda data: [value for read in reads for value in read(data)]


def _count(kind: str, target: float, *names: str) -> Callable[[Data], list[Value]]:
    return lambda data: [Value(sum(data[kind]["counts"].get(name, 0.0) for name in names), target, at_most=True)]


def _outside(kind: str, target: float) -> Callable[[Data], list[Value]]:
    return lambda data: [Value(data[kind]["outside_codec_ms"]["median"], target, at_most=True)]


def _flat(data: Data) -> list[Value]:
    small, *_, large = (data["sizes"][size] for size in sorted(data["sizes"], key=int))
    grown = large["peak_rss"]["worker"] / small["peak_rss"]["worker"]
    return [Value(large["rate"]["median"] / small["rate"]["median"], 1.0), Value(grown, 1.1, at_most=True)]


def _upload(data: Data) -> list[Value]:
    largest = data["uploads"][max(data["uploads"], key=int)]
    rss = Value(largest["ingest_peak_rss"] / 1e6, 200, at_most=True)
    return [Value(largest["against_copy"]["median"], 2.5, at_most=True), rss]


def _status(data: Data) -> list[Value]:
    return [Value(data["get_ms"]["ratio"], 1.2, at_most=True), Value(data["unchanged"]["per_core"], 1500)]


def _latency(data: Data) -> list[Value]:
    idle = Value(data["idle"]["median"] * 1000, 120, at_most=True)
    return [idle, Value(data["beside"]["median"] * 1000, 1000, at_most=True)]


def _idle(data: Data) -> list[Value]:
    return [Value(sum(data["cpu_percent"].values()), 1.0, at_most=True)]


def _start(data: Data) -> list[Value]:
    pss = Value(sum(data["pss"].values()) / 1e6, 400, at_most=True)
    return [Value(data["start"]["median"], 4.0, at_most=True), pss]


def _fleet(data: Data) -> list[Value]:
    wanted = {"1": 120.0, "2": 240.0, "4": 480.0, "8": 900.0}
    return [Value(one["rate"]["median"], wanted[n]) for n, one in data["workers"].items() if n in wanted]


ROWS = [
    Row(
        "1 MP JPEG, 202 to terminal, against bare Pillow",
        "speed",
        "0.51 to 0.57",
        "0.88",
        "1.0",
        _speed("jpeg-1", "against_kept", 0.88),
    ),
    Row(
        "4 MP / 0.3 MP, the same",
        "speed",
        "0.74 / 0.23 to 0.33",
        "0.95 / 0.65",
        "1.1 / 0.85",
        _both(_speed("jpeg-4", "against_kept", 0.95), _speed("jpeg-0.3", "against_kept", 0.65)),
    ),
    Row(
        "1 MP PNG / WebP, against Pillow's own encoders",
        "speed",
        "1.9 / 1.0",
        "1.9 / 1.0",
        "",
        _both(_speed("png-1", "against_kept", 1.9), _speed("webp-1", "against_kept", 1.0)),
    ),
    Row(
        "against the peer, 1 MP / 0.3 MP",
        "speed",
        "1.5 / 1.2",
        "2.5 / 2.5",
        "3 / 3",
        _both(_speed("jpeg-1", "against_peer", 2.5), _speed("jpeg-0.3", "against_peer", 2.5)),
    ),
    Row(
        "CPU outside the codec per image, 1 MP / 0.3 MP",
        "counts",
        "4.8 / 3.5 ms",
        "2.0 / 1.4 ms",
        "1.5 / 1.0 ms",
        _both(_outside("jpeg-1", 2.0), _outside("jpeg-0.3", 1.4)),
        "{:.2f} ms",
    ),
    Row(
        "transactions / Valkey commands / row versions per image (1 MP)",
        "counts",
        "0.4 / ? / 4",
        "0.2 / 2 / 3",
        "",
        _both(
            _count("jpeg-1", 0.2, "transactions"),
            _count("jpeg-1", 2.0, "valkey_commands"),
            _count("jpeg-1", 3.0, "rows_inserted", "rows_updated"),
        ),
    ),
    Row(
        "images/s at the largest request against the smallest / the worker's peak RSS, the same",
        "size",
        "1.2 / 1.1",
        "not less than 1.0 / 1.1",
        "",
        _flat,
    ),
    Row(
        "202 for 1,000,000 images against `COPY` of the same rows / ingest's peak RSS",
        "huge",
        "9 / 143 MB",
        "2.5 / 200 MB",
        "2",
        _upload,
        "{:.1f}",
    ),
    Row(
        "`GET` of a running 1,000,000-image request against a 10-image one (p50) / 304s a second on one core",
        "huge",
        "1.8 / ?",
        "1.2 / 1,500",
        "",
        _status,
        "{:.1f}",
    ),
    Row(
        "three images on an idle stack / beside 20,000",
        "latency",
        "400 ms / 2.9 s",
        "120 ms / 1 s",
        "80 ms",
        _latency,
        "{:.0f} ms",
    ),
    Row("CPU of an idle stack, of one core", "idle", "8%", "1%", "", _idle, "{:.1f}%"),
    Row(
        "`make run` to ready, second start / idle memory of the stack (PSS)",
        "idle",
        "6.4 s / 461 MB",
        "4 s / 400 MB",
        "",
        _start,
        "{:.1f}",
    ),
    Row(
        "1, 2, 4, 8 workers, an origin of 500 ms, tiny images",
        "fleet",
        "99, 184, 256, 298/s",
        "120, 240, 480, 900/s",
        "",
        _fleet,
        "{:.0f}/s",
    ),
]
