"""The SVG plots. The same results give the same bytes: no date, a fixed salt for the ids."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from tests.bench.pictures import CLASSES

Data = dict[str, Any]
STYLE: Any = {"svg.hashsalt": "halftone", "svg.fonttype": "none", "font.size": 10, "axes.grid": True, "grid.alpha": 0.3}
INK, GREY, WARM = "#1f4e79", "#8a8a8a", "#c55a11"


@contextmanager
def _plot(path: Path) -> Iterator[Axes]:
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
        yield axes
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format=path.suffix[1:], metadata={"Date": None} if path.suffix == ".svg" else None)
        plt.close(figure)


def _spread(samples: Data) -> tuple[list[float], list[list[float]]]:
    return [samples["median"]], [[samples["median"] - samples["min"]], [samples["max"] - samples["median"]]]


def throughput(data: Data, path: Path) -> None:
    """Images a second over the size of the request."""
    _over_size(data, path, "images/s", lambda one: one["rate"])


def memory(data: Data, path: Path) -> None:
    """Peak memory of each process over the size of the request."""
    with _plot(path) as axes:
        sizes = sorted(map(int, data["sizes"]))
        roles = sorted(data["sizes"][str(sizes[-1])]["peak_rss"].items(), key=lambda one: -one[1])
        for role, _ in roles:
            found = [data["sizes"][str(size)]["peak_rss"].get(role, 0) / 1e6 for size in sizes]
            axes.plot(sizes, found, marker="o", label=role)
        _size_axis(axes, sizes)
        axes.set_ylabel("peak RSS of the process, MB")
        axes.set_ylim(bottom=0)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def _over_size(data: Data, path: Path, label: str, read: Any) -> None:
    with _plot(path) as axes:
        sizes = sorted(map(int, data["sizes"]))
        for size in sizes:
            middle, spread = _spread(read(data["sizes"][str(size)]))
            axes.errorbar([size], middle, spread, color=INK, marker="o", capsize=4)
        axes.plot(sizes, [read(data["sizes"][str(size)])["median"] for size in sizes], color=INK)
        _size_axis(axes, sizes)
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)


def _size_axis(axes: Axes, sizes: list[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("images of the request (tiny ones)")


def classes(data: Data, path: Path) -> None:
    """The journey of each class, and the peer's, in shares of bare Pillow."""
    with _plot(path) as axes:
        names = list(data["classes"])
        for offset, key, colour, label in ((-0.2, "journey", INK, "the journey"), (0.2, "peer", WARM, "the peer")):
            for place, name in enumerate(names):
                one = data["classes"][name]
                if key in one:
                    share = one[key]["median"] / one["kept"]["median"]
                    axes.bar(place + offset, share, 0.38, color=colour, label=label)
                    axes.text(place + offset, share, f"{share:.2f}", ha="center", va="bottom")
        axes.axhline(1, color=GREY, linewidth=1)
        axes.set_xticks(range(len(names)), [CLASSES[name].title for name in names])
        axes.set_ylabel("images/s, of bare Pillow's")
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        axes.legend(handles.values(), handles.keys(), frameon=False)


def fleet(data: Data, path: Path) -> None:
    """Images a second over the number of workers, beside what one worker would give many times over."""
    with _plot(path) as axes:
        counts = sorted(map(int, data["workers"]))
        medians = [data["workers"][str(count)]["rate"]["median"] for count in counts]
        for count in counts:
            middle, spread = _spread(data["workers"][str(count)]["rate"])
            axes.errorbar([count], middle, spread, color=INK, marker="o", capsize=4)
        axes.plot(counts, medians, color=INK, label="measured")
        axes.plot(counts, [medians[0] * count / counts[0] for count in counts], color=GREY, ls="--", label="linear")
        axes.set_ylim(0, max(medians) * 1.4)
        axes.set_xticks(counts)
        axes.set_xlabel("worker processes")
        axes.set_ylabel("images/s of one request")
        axes.legend(frameon=False)


PLOTS = {
    "throughput-over-size": ("size", throughput),
    "memory-over-size": ("size", memory),
    "classes": ("speed", classes),
    "fleet": ("fleet", fleet),
}


def draw(results: dict[str, Data], folder: Path) -> dict[str, Path]:
    """Draw what was measured; the files by the name of the plot."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for name, (figure, plot) in PLOTS.items():
        path = folder / f"{name}.svg"
        path.unlink(missing_ok=True)
        if "data" in results.get(figure, {}):
            plot(results[figure]["data"], path)
            drawn[name] = path
    return drawn
