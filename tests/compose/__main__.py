"""`make compose-test`: builds the containers, tries out what they promise, takes all down.

    python -m tests.compose short           the checks of .ci/run
    python -m tests.compose [NAME ...]      only these checks

COMPOSE_PROJECT_NAME and HALFTONE_PORT of the environment give it a stack of its own.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

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
from tests.compose.resilience import check_faults, check_faults_in_short
from tests.compose.scale import check_scale

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
    "faults-short": check_faults_in_short,
}
"""With stacks of their own."""
NOTHING_TRIED = 3
"""The exit status where there is no engine."""
SHORT = (*BEFORE, *CHECKS, "faults-short")
LONG = (*BEFORE, *CHECKS, "deploy-page", "bucket", "end-to-end", "end-to-end-bucket", "scale", "faults")


def main(names: Sequence[str]) -> int:
    """All checks or those named; the exit status."""
    known = (*BEFORE, *CHECKS, *APART)
    chosen = SHORT if list(names) == ["short"] else names or LONG
    if unknown := set(chosen) - {*known}:
        print(f"no such check: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return 2
    try:
        with engine() as found, tempfile.TemporaryDirectory() as folder:
            draw_pictures(Path(folder))
            _try_out(Compose(found, Path(folder)), chosen)
    except NoEngine as reason:
        print(f"compose-test: NOTHING WAS TRIED, {reason}", file=sys.stderr)
        return NOTHING_TRIED
    except (Failed, ApiError, OSError) as failure:
        print(f"compose-test: {failure}", file=sys.stderr)
        return 1
    print("compose-test: all good")
    return 0


def _try_out(compose: Compose, names: Sequence[str]) -> None:
    for name, check in BEFORE.items():
        if name in names or name == "build":
            _show(name, check, compose)
    if not CHECKS.keys().isdisjoint(names):
        _on_one_stack(compose, names)
    for name, check in APART.items():
        if name in names:
            _show(name, check, compose)


def _on_one_stack(compose: Compose, names: Sequence[str]) -> None:
    try:
        _show("up", _up, compose)
        for name, check in CHECKS.items():
            if name in names:
                _show(name, check, compose)
    except (Failed, ApiError, OSError):
        compose("ps", "-a", check=False)
        compose("logs", "--no-color", "--tail", "40", check=False)
        raise
    finally:
        compose("down", "-v", "--timeout", "20", check=False)


def _up(compose: Compose) -> None:
    compose("up", "-d", "--no-build", "--wait", "--scale", "worker=2")


def _show(name: str, check: Check, compose: Compose) -> None:
    begun = time.monotonic()
    try:
        check(compose)
    except BaseException:
        print(f"checks: {name} FAILED {time.monotonic() - begun:.0f} s", flush=True)
        raise
    print(f"checks: {name} ok {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
