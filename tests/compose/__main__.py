"""`make compose-test`: builds the containers, tries out what they promise, takes all down.

    python -m tests.compose short           those of .ci/run, in four minutes
    python -m tests.compose [NAME ...]      only these checks

COMPOSE_PROJECT_NAME and HALFTONE_PORT of the environment give it a stack of its own.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tests.api import ApiError
from tests.compose.addresses import check_addresses
from tests.compose.bucket import check_bucket, check_end_to_end_bucket
from tests.compose.compose import Compose
from tests.compose.deploy_page import check_deploy_page
from tests.compose.e2e import check_end_to_end
from tests.compose.engine import Failed, NoEngine, engine
from tests.compose.images import check_images
from tests.compose.journey import check_journey, draw_pictures
from tests.compose.keys import check_a_key_is_needed
from tests.compose.privilege import check_logins, check_passwords, check_secret_is_read, check_status_only_reads
from tests.compose.resilience import REPLICAS, check_faults, run_in_short
from tests.compose.scale import check_scale
from tests.compose.stack import composed

T = TypeVar("T")
Check = Callable[[Compose], None]
BEFORE: dict[str, Check] = {"addresses": check_addresses, "build": Compose.build, "images": check_images}
"""Need no container."""
CHECKS: dict[str, Check] = {
    "secret": check_secret_is_read,
    "keys": check_a_key_is_needed,
    "journey": check_journey,
    "logins": check_logins,
    "passwords": check_passwords,
    "status-reads": check_status_only_reads,
}
"""On a stack that is up, with two workers."""
APART: dict[str, Check] = {
    "deploy-page": check_deploy_page,
    "bucket": check_bucket,
    "end-to-end": check_end_to_end,
    "end-to-end-bucket": check_end_to_end_bucket,
    "scale": check_scale,
    "faults": check_faults,
}
"""With stacks of their own."""
NOTHING_TRIED = 3
"""The exit status where there is no engine."""
TWO = ("--scale", "worker=2")


def main(names: Sequence[str]) -> int:
    """All checks, those of the short form, or those named; the exit status."""
    short = list(names) == ["short"]
    if unknown := set() if short else set(names) - {*BEFORE, *CHECKS, *APART}:
        print(f"no such check: {', '.join(sorted(unknown))}; there are {', '.join((*BEFORE, *CHECKS, *APART))}")
        return 2
    try:
        with engine() as found, tempfile.TemporaryDirectory() as folder:
            draw_pictures(Path(folder))
            compose = Compose(found, Path(folder))
            try:
                if short:
                    _try_out_in_short(compose)
                else:
                    _try_out(compose, names or (*BEFORE, *CHECKS, *APART))
            finally:
                compose.tidy()
    except NoEngine as reason:
        print(f"compose-test: NOTHING WAS TRIED, {reason}", file=sys.stderr)
        return NOTHING_TRIED
    except (Failed, ApiError, OSError) as failure:
        print(f"compose-test: {failure}", file=sys.stderr)
        return 1
    print("compose-test: all good")
    return 0


def _try_out_in_short(compose: Compose) -> None:
    """All of it on one stack, with two of what is behind the gateway."""
    for name, check in BEFORE.items():
        _show(name, check, compose)
    with composed(compose, *TWO, *REPLICAS) as stack:
        for name, check in CHECKS.items():
            _show(name, check, stack.compose)
        _show("faults", run_in_short, stack)


def _try_out(compose: Compose, names: Sequence[str]) -> None:
    for name, check in BEFORE.items():
        if name in names or name == "build":
            _show(name, check, compose)
    if chosen := [name for name in CHECKS if name in names]:
        with compose.up(*TWO):
            for name in chosen:
                _show(name, CHECKS[name], compose)
    for name, check in APART.items():
        if name in names:
            _show(name, check, compose)


def _show(name: str, check: Callable[[T], None], tried: T) -> None:
    begun = time.monotonic()
    try:
        check(tried)
    except BaseException:
        print(f"checks: {name} FAILED {time.monotonic() - begun:.0f} s", flush=True)
        raise
    print(f"checks: {name} ok {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
