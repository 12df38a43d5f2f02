"""Which containers reach out: tried from the network of each, at a server that stands outside of all internal ones."""

from collections.abc import Callable

INSIDE = ("ingest", "status", "postgres", "valkey")
OUT = ("worker", "notifier")
"""And the gateway, but by its own network: it publishes there and asks for its certificate."""
IMAGE = "python:3.13-slim"
TRY = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()
    print("reached")
except OSError:
    print("not reached")
"""


def reaching_out(docker: Callable[..., str], container: Callable[[str], str], host: str, port: int) -> set[str]:
    """Those services that reach the address; `container` finds the id of a service's first container."""
    found = set()
    for service in (*INSIDE, *OUT):
        network = f"container:{container(service)}"
        said = docker("run", "--rm", "--network", network, IMAGE, "python", "-c", TRY, host, str(port))
        if said.strip() == "reached":
            found.add(service)
    return found
