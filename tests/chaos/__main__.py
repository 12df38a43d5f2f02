"""`python -m tests.chaos run|recovery|overload`: break one part after the other of a real stack, and lose nothing.

Exit status 1 if anything was lost, late or wrong. What a run finds gets a small test of its own in
tests/integration/test_found.py.
"""

import argparse
import random
import signal
import sys
import time
from collections.abc import Sequence
from itertools import count
from types import FrameType

from tests.chaos.faults import FAULTS, Fault, drawn
from tests.chaos.overload import SECONDS, measure_overload
from tests.chaos.recovery import measure_recovery
from tests.chaos.report import say, say_result, say_table, say_violations
from tests.chaos.run import Result, Run
from tests.chaos.world import World, world

SHORT_MINUTES = 3.0
SHORT_SEEDS = 2
FAULTS_A_SEED = 3


def main() -> int:
    """Read the arguments and do as they say."""
    arguments = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs with SIGINT ignored
        signal.signal(number, _interrupt)
    try:
        if arguments.command == "overload":
            return measure_overload(arguments.seconds)
        with world() as made:
            if arguments.command == "recovery":
                return _summary([_recovery(made)])
            return _summary(_run(made, arguments))
    except KeyboardInterrupt:
        say("interrupted; everything is stopped")
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("command", choices=["run", "recovery", "overload"])
    parser.add_argument("--minutes", type=float, default=15.0, help="start no new seed after this time")
    parser.add_argument("--seeds", type=int, default=20, help="but run at least so many")
    parser.add_argument("--seed", type=int, help="run only this one")
    parser.add_argument("--faults", help="with --seed: these instead of those it draws, comma-separated")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of overload: how long the load lasts")
    parser.add_argument("--short", action="store_true", help=f"about {SHORT_MINUTES:g} minutes, without recovery times")
    return parser.parse_args()


def _run(made: World, arguments: argparse.Namespace) -> list[Result]:
    begun = time.monotonic()
    results = [_one(made, 0, [])]  # without a fault nothing may be wrong either
    made.base = made.resources()
    if arguments.seed is not None:
        faults = _named(arguments.faults) if arguments.faults else drawn(arguments.seed, count=FAULTS_A_SEED)
        return [*results, _one(made, arguments.seed, faults)]
    if not arguments.short:
        results.append(_recovery(made))
    minutes, seeds = (SHORT_MINUTES, SHORT_SEEDS) if arguments.short else (arguments.minutes, arguments.seeds)
    for number, seed in enumerate(count(random.randrange(10_000))):
        if number >= seeds and time.monotonic() > begun + 60 * minutes - 30:
            break
        results.append(_one(made, seed, drawn(seed, count=FAULTS_A_SEED)))
    hit = [[result for result in results if fault.name in result.faults] for fault in FAULTS]
    rows = [
        (fault.name, len(runs), sum(bool(run.violations) for run in runs))
        for fault, runs in zip(FAULTS, hit, strict=True)
    ]
    say_table("Faults", ("fault", "runs", "with violations"), rows)
    return results


def _one(made: World, seed: int, faults: Sequence[Fault]) -> Result:
    result = Run(made, seed, faults).run()
    say_result(result)
    return result


def _recovery(made: World) -> Result:
    return Result(0, ["recovery"], violations=measure_recovery(made))


def _named(names: str) -> list[Fault]:
    by_name = {fault.name: fault for fault in FAULTS}
    return [by_name[name.strip()] for name in names.split(",")]


def _summary(results: Sequence[Result]) -> int:
    """Print it; the exit status."""
    say_violations(results)
    found = sum(len(result.violations) for result in results)
    images, requests = sum(result.images for result in results), sum(result.requests for result in results)
    say(f"\n{len(results)} runs, {requests} requests, {images} images: {found} violations")
    return 1 if found else 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
