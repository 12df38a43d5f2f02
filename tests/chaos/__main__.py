"""`python -m tests.chaos run|recovery|throughput`: break one part after the other of a real stack, and lose nothing.

Exit status 1 where anything was lost, late or wrong. A seed that found something goes into regressions.py.
"""

import argparse
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from types import FrameType

from tests.chaos.faults import FAULTS, Fault, drawn
from tests.chaos.invariants import Violation
from tests.chaos.recovery import measure_recovery
from tests.chaos.regressions import REGRESSIONS
from tests.chaos.report import say, say_result, say_table, say_violations
from tests.chaos.seed import Result, Run
from tests.chaos.throughput import measure_throughput
from tests.chaos.world import World, world

SHORT_MINUTES = 3.0
SHORT_SEEDS = 2
FAULTS_A_SEED = 3
TINY = 24  # pixels: so that the codec is not what is measured


def main() -> int:
    """Read the arguments and do as they say."""
    arguments = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts what is in the background with SIGINT ignored
        signal.signal(number, _interrupt)
    try:
        with world(side=TINY if arguments.command == "throughput" else 200) as made:
            match arguments.command:
                case "recovery":
                    return _verdict([Result(0, violations=measure_recovery(made))])
                case "throughput":
                    return _verdict([Result(0, violations=measure_throughput(made, arguments.images))])
                case _:
                    return _run(made, arguments)
    except KeyboardInterrupt:
        say("interrupted; everything is stopped")
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("command", choices=["run", "recovery", "throughput"])
    parser.add_argument("--minutes", type=float, default=15.0, help="start no new seed after this time")
    parser.add_argument("--seeds", type=int, default=20, help="but run at least so many")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--faults", help="with --seed: these instead of those it draws, comma-separated")
    parser.add_argument("--short", action="store_true", help=f"about {SHORT_MINUTES:g} minutes, without recovery times")
    parser.add_argument("--images", type=int, default=5_000, help="of the request whose throughput is measured")
    return parser.parse_args()


def _run(made: World, arguments: argparse.Namespace) -> int:
    begun = time.monotonic()
    results = [_warm_up(made)]
    if arguments.seed is not None:
        results.append(_one(made, arguments.seed, _chosen(arguments)))
        return _verdict(results)
    if not arguments.short:
        results.append(Result(0, ["recovery"], violations=measure_recovery(made)))
    minutes, seeds = (SHORT_MINUTES, SHORT_SEEDS) if arguments.short else (arguments.minutes, arguments.seeds)
    for number, (seed, faults) in enumerate(_seeds(short=arguments.short)):
        if number >= seeds and time.monotonic() > begun + 60 * minutes - 30:
            break
        results.append(_one(made, seed, faults))
    _say_coverage(results)
    return _verdict(results)


def _warm_up(made: World) -> Result:
    """Without a fault nothing may be wrong either; what the processes hold afterwards is the base for all runs."""
    result = Run(made, 0, []).run()
    made.base = made.resources()
    say_result(result)
    return result


def _one(made: World, seed: int, faults: Sequence[Fault]) -> Result:
    result = Run(made, seed, faults).run()
    say_result(result)
    return result


def _seeds(*, short: bool) -> Iterator[tuple[int, list[Fault]]]:
    """Those that once found something, then consecutive ones from anywhere. In CI the old ones take turns."""
    old = list(REGRESSIONS)
    if short:
        random.shuffle(old)
        old = old[:1]
    for regression in old:
        yield regression.seed, _named(regression.faults)
    seed = random.randrange(10_000)
    while True:
        yield seed, drawn(seed, count=FAULTS_A_SEED)
        seed += 1


def _chosen(arguments: argparse.Namespace) -> list[Fault]:
    return _named(arguments.faults.split(",")) if arguments.faults else drawn(arguments.seed, count=FAULTS_A_SEED)


def _named(names: Sequence[str]) -> list[Fault]:
    by_name = {fault.name.replace(",", ""): fault for fault in FAULTS}
    return [by_name[name.replace(",", "").strip()] for name in names]


def _say_coverage(results: Sequence[Result]) -> None:
    counts = [(fault.name, sum(fault.name in result.faults for result in results)) for fault in FAULTS]
    hurt = {fault.name: sum(bool(r.violations) for r in results if fault.name in r.faults) for fault in FAULTS}
    say_table("Faults", ("fault", "runs", "with violations"), [(name, runs, hurt[name]) for name, runs in counts])


def _verdict(results: Sequence[Result]) -> int:
    say_violations(results)
    found: list[Violation] = [violation for result in results for violation in result.violations]
    images, requests = sum(result.images for result in results), sum(result.requests for result in results)
    say(f"\n{len(results)} runs, {requests} requests, {images} images: {len(found)} violations")
    return 1 if found else 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
