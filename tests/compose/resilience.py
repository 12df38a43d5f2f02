"""Runs of tests/chaos against containers: under load through the gateway with a key, one fault or several at a time."""

from collections.abc import Sequence

from tests.chaos.faults import Fault
from tests.chaos.report import say, say_result, say_violations
from tests.chaos.run import Result, Run
from tests.compose.compose import Compose
from tests.compose.engine import Failed
from tests.compose.faults import FULL, KILLS, RESTARTS, ROLL, ROLL_REPLICAS, SCALE, disconnections
from tests.compose.stack import ComposedStack, composed

SECONDS = 12.0
"""How long orders come, and in which faults begin."""
REQUESTS = 12
REPLICAS = ("--scale", "ingest=2", "--scale", "status=2")


def check_faults(compose: Compose) -> None:
    """Every fault by itself, several at once, and the roll of replicas, twice."""
    with composed(compose) as stack:
        alone = [SCALE, FULL, *KILLS.values(), *RESTARTS, *disconnections(stack), ROLL]
        _run_all(stack, [[], *([fault] for fault in alone), *_together(stack)])
    with composed(compose, *REPLICAS) as stack:
        _run_all(stack, [[], [ROLL_REPLICAS], [ROLL_REPLICAS]])


def run_in_short(stack: ComposedStack) -> None:
    """Several at a time, each network once, and the roll of the replicas, of which no caller sees a 5xx.

    What the stack did until now was no run: leaks are measured from here.
    """
    stack.base = stack.resources()
    _run_all(stack, [*_together(stack), [ROLL_REPLICAS]], step=2)


def _together(stack: ComposedStack) -> list[list[Fault]]:
    apart = {fault.name.rpartition(" ")[2]: fault for fault in disconnections(stack) if "worker" in fault.name}
    return [[SCALE, *KILLS.values()], [FULL, *RESTARTS, *apart.values()]]


def _run_all(stack: ComposedStack, plans: Sequence[Sequence[Fault]], *, step: int = 1) -> None:
    """`step`: of the seeds; the odd ones also run what failed again."""
    results: list[Result] = []
    for number, faults in enumerate(plans):
        result = Run(stack, step * number, faults, seconds=SECONDS, requests=REQUESTS).run()
        say_result(result)
        say(f"    answers: {result.answers}")
        if not faults:
            stack.base = stack.resources()
        results.append(result)
    say_violations(results)
    if found := sum(len(result.violations) for result in results):
        raise Failed(f"{found} violations in {len(results)} runs")
