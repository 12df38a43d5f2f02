"""`python -m deploy.demo`: sends a small catalogue through a real stack and shows what became of it."""

import argparse
import os
import sys

from rich.console import Console

from deploy.demo.journey import run
from deploy.demo.stack import DemoFailed
from deploy.local.settings import LocalSettings
from halftone_client import HalftoneError
from shared.settings import from_environment

EPILOG = """\
Starts the stack if it is not running, and leaves it up. The stack's egress guard refuses loopback addresses, except for
the demo's own server, 127.0.0.1:8099 (HALFTONE_DEMO_PORT changes the port), which a stack on the loopback allows. If a
stack with other settings runs already: `make stop`, then `make demo`, or start it with
HALFTONE_FETCH_ALLOW=127.0.0.1:8099. Exit status: 0 every promise held, 1 one did not, 130 Ctrl-C.
"""


def main() -> int:
    """Run the demo; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=__doc__, epilog=EPILOG)
    about = "API key (ht_...) where the stack requires one; HALFTONE_KEY by default, else one is made"
    parser.add_argument("--key", default=os.environ.get("HALFTONE_KEY"), help=about)
    key = parser.parse_args().key
    console = Console(highlight=False, markup=False)
    try:
        return 0 if run(from_environment(LocalSettings), console, key=key or None) else 1
    except (DemoFailed, HalftoneError, TimeoutError) as failure:
        print(f"halftone demo: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nhalftone demo: interrupted, goodbye; `make stop` ends the stack if it is up", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
