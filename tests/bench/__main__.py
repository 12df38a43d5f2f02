"""`python -m tests.bench [figure ...] [--quick] [--keys] [--pairs N] [--render]`.

Measures the figures one after the other, all by default, and writes docs/performance.md from all that were measured so
far. With `--quick` the page goes to `.test/bench/`, because its numbers mean nothing.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.bench import machine, results
from tests.bench.bench import PAIRS, Bench
from tests.bench.figures import FIGURES
from tests.bench.origin import Origin
from tests.bench.report import write
from tests.stack import FOLDER, ROOT, own_folder

KINDS = ("tiny", "jpeg-0.3", "jpeg-1", "jpeg-4", "png-1", "webp-1")
PAGES = FOLDER / "bench"
"""Of runs that are not for docs/performance.md."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("figure", nargs="*", choices=[[], *FIGURES], help=f"some of {', '.join(FIGURES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="a little of everything, in some minutes")
    parser.add_argument("--keys", action="store_true", help="`huge` with API keys; the page goes to .test/bench/keys")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="interleaved repetitions of each figure")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the page again")
    arguments = parser.parse_args()
    aside = PAGES / ("quick" if arguments.quick else "keys") if arguments.quick or arguments.keys else None
    kept = aside / "results.json" if aside else results.FILE
    failed = [] if arguments.render else _measure(arguments.figure or list(FIGURES), arguments, kept)
    page = write(results.load(kept), aside or ROOT / "docs")
    print(f"written: {page.relative_to(ROOT)}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def _measure(names: list[str], arguments: argparse.Namespace, kept: Path) -> list[str]:
    folder, begun, failed = own_folder(), time.monotonic(), list[str]()
    temporary = tempfile.mkdtemp(prefix="halftone-")
    os.environ["TMPDIR"] = temporary  # our children's sockets, whose paths must be short
    pairs = 2 if arguments.quick else arguments.pairs
    pictures = FOLDER / "bench" / "pictures"
    print("drawing pictures", file=sys.stderr, flush=True)
    try:
        with Origin(pictures, KINDS) as origin:
            for number, name in enumerate(names, 1):
                bench = Bench(
                    folder=folder,
                    pictures=pictures,
                    origin=origin,
                    quick=arguments.quick,
                    keys=arguments.keys,
                    pairs=pairs,
                )
                print(f"{name} ({number} of {len(names)}), {time.monotonic() - begun:.0f} s so far", file=sys.stderr)
                if not _one(name, bench, kept):
                    failed.append(name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)
    return failed


def _one(name: str, bench: Bench, kept: Path) -> bool:
    """Measure one figure; an error becomes its result, so that the others are still measured."""
    begun, about = time.monotonic(), {"machine": machine.facts(), "quick": bench.quick}
    try:
        about["data"] = FIGURES[name](bench)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this figure's result
        traceback.print_exc()
        about["failed"] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    results.merge(name, about | {"seconds": time.monotonic() - begun}, kept)
    return "failed" not in about


if __name__ == "__main__":
    sys.exit(main())
