"""`make check` runs it: looks up the locked packages among the known vulnerabilities, with pip-audit.

Where that data cannot be reached it says so loudly and passes: a machine without a network is not a vulnerability.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tests.stack import ROOT

COMMAND = (
    "-m",
    "pip_audit",
    "--require-hashes",
    "--disable-pip",
    "--progress-spinner",
    "off",
    "--timeout",
    "5",
    "--format",
    "json",
)
LOCK = "requirements.lock"


def judge(dependencies: Sequence[Mapping[str, Any]]) -> tuple[int, list[str]]:
    """The exit status and the lines to print for what pip-audit found out about each package."""
    vulnerable = [
        f"{package['name']} {package['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or '-'}"
        for package in dependencies
        for found in package.get("vulns", ())
    ]
    unknown = sum("skip_reason" in package for package in dependencies)
    audited = len(dependencies) - unknown
    if vulnerable:
        return 1, vulnerable
    if unknown:
        return 0, [f"NOT AUDITED: {unknown} of {len(dependencies)} packages: their data cannot be reached from here"]
    return 0, [f"{audited} packages, no known vulnerability"]


def main() -> int:
    done = subprocess.run(
        [sys.executable, *COMMAND, "-r", LOCK, "--format", "json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        status, lines = 0, [f"NOT AUDITED: pip-audit could not run: {last[:300]}"]
    else:
        status, lines = judge(dependencies)
    sys.stdout.writelines(f"audit: {line}\n" for line in lines)
    return status


if __name__ == "__main__":
    sys.exit(main())
