"""What operators and machines do to containers: scale, kill -9, restart, disconnect, fill a volume, roll to new images.

The load and the checks are those of tests/chaos.
"""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random

from tests.chaos.faults import Fault, Heal
from tests.compose.compose import PROJECT
from tests.compose.engine import Failed
from tests.compose.stack import REPLACEABLE, ComposedStack

DISCONNECTED_SECONDS = 20.0
UP = ("up", "-d", "--no-build", "--no-deps")
REPLICATED = ("ingest", "status")
"""The services behind the gateway, which roll one replica after the other where there are two."""


def scale(stack: ComposedStack, random: Random) -> Heal:
    """From one worker to four, and back."""
    scale_to(stack, "worker", 4)
    return partial(scale_to, stack, "worker", 1)


def kill(stack: ComposedStack, random: Random, service: str) -> None:
    """Kill -9 the main process of a container; the restart policy starts it again."""
    random.choice(stack.containers(service)).kill()


def restart(stack: ComposedStack, random: Random, service: str) -> None:
    stack.compose("restart", service)


def disconnect(stack: ComposedStack, random: Random, service: str, network: str) -> Heal:
    """Take a service out of a network."""
    taken = stack.containers(service)
    for container in taken:
        container.disconnect(network)

    def heal() -> None:
        now = {container.id: container for container in stack.containers(service)}
        for container in taken:
            if container.id in now and network not in now[container.id].networks:
                container.connect(network)

    return heal


def fill(stack: ComposedStack, random: Random) -> Heal:
    """Take every last byte of the blob store's volume."""
    filler = stack.blobs / ".filler"
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    return lambda: filler.unlink(missing_ok=True)


def roll(stack: ComposedStack, random: Random) -> None:
    """Every service to another image, one by one, as docs/operations.md says."""
    for service in REPLACEABLE:
        roll_one(stack, service)


def roll_replicas(stack: ComposedStack, random: Random) -> None:
    """Those that have two."""
    for service in REPLICATED:
        roll_one(stack, service)


def roll_one(stack: ComposedStack, service: str) -> None:
    """With several replicas new ones are there before the old ones are replaced.

    Raises:
        Failed: there are other containers than before, or of another image.

    """
    old = stack.containers(service)
    image = _next_image(stack, old[0].facts["Config"]["Image"])
    stack.compose.env[f"TEST_IMAGE_{service.upper()}"] = image
    count, up = len(old), (*UP, "--wait", "--scale")
    if service in REPLICATED and count > 1:
        stack.compose(*up, f"{service}={2 * count}", "--no-recreate", service)
        stack.compose(*up, f"{service}={2 * count}", service)
    stack.compose(*up, f"{service}={count}", service)
    rolled = {container.name: container.facts["Config"]["Image"] for container in stack.containers(service)}
    if rolled != {container.name: image for container in old}:
        raise Failed(f"after it was rolled to {image} {service} is {rolled}")


def _next_image(stack: ComposedStack, image: str) -> str:
    """The same under another id."""
    tag = f"{PROJECT}-next-{image.partition(':')[0].rpartition('/')[2]}"
    with tempfile.TemporaryDirectory() as folder:  # read from its input, a Dockerfile stays in TMPDIR
        Path(folder, "Dockerfile").write_text(f"FROM {image}\nLABEL halftone.test=next\n")
        stack.compose.docker("build", "--quiet", "--tag", tag, folder)
    return tag


def scale_to(stack: ComposedStack, service: str, count: int) -> None:
    """So many containers of a service; those that stay are left alone."""
    stack.compose(*UP, "--no-recreate", "--scale", f"{service}={count}", service)


def disconnections(stack: ComposedStack) -> Iterator[Fault]:
    """Each service out of each of its networks."""
    for service in REPLACEABLE:
        for network in stack.containers(service)[0].networks:
            seconds = (DISCONNECTED_SECONDS, DISCONNECTED_SECONDS)
            name = f"disconnect {service} from {network.rpartition('_')[2]}"
            yield Fault(name, disconnect, (service, network), seconds=seconds)


SCALE = Fault("scale workers 1 to 4 to 1", scale, seconds=(10, 10), outage=False)
KILLS = {
    name: Fault(f"kill {name}", kill, (name,), kills=True, outage=name not in ("worker", "notifier"))
    for name in REPLACEABLE
}
RESTARTS = [Fault(f"restart {name}", restart, (name,)) for name in ("postgres", "valkey")]
FULL = Fault("blob volume full", fill, seconds=(4, 8), outage=False)
ROLL = Fault("roll every service", roll)
"""One replica of each."""
ROLL_REPLICAS = Fault("roll the replicas behind the gateway", roll_replicas, outage=False)
