"""`python -m deploy.local.demo`: sends a small catalogue through a real stack and shows what became of it."""

import argparse
import sys

from rich.console import Console

from deploy.local.demo.failure import DemoFailed
from deploy.local.demo.journey import run
from deploy.local.demo.settings import DemoSettings
from shared.settings import from_environment

EPILOG = """\
The stack is started if none is up, and stays up. Its guard refuses loopback addresses, so it must be allowed the
demo's own server, 127.0.0.1:8099 (HALFTONE_DEMO_PORT changes the port): the demo sees to that when it starts the
stack. A stack that runs already without it is told apart at the upload: `make stop`, then `make demo`; or start it
with HALFTONE_FETCH_ALLOW=127.0.0.1:8099. Exit status: 0 every promise held, 1 one did not, 130 Ctrl-C.
"""


def main() -> int:
    """Run the demo; its exit status."""
    argparse.ArgumentParser(prog="python -m deploy.local.demo", description=__doc__, epilog=EPILOG).parse_args()
    console = Console(highlight=False, markup=False)
    try:
        return 0 if run(from_environment(DemoSettings), console) else 1
    except DemoFailed as failure:
        print(f"halftone demo: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nhalftone demo: interrupted, goodbye; `make stop` ends the stack if it is up", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
