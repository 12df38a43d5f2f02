"""Secrets in files: instead of NAME, a variable NAME_FILE may name a file that holds the value.

Whoever may inspect a container sees its environment, and so do the programs that it starts.
"""

from collections.abc import Mapping
from pathlib import Path

SECRETS = frozenset(
    {
        "DATABASE_URL",
        "REDIS_URL",
        "HALFTONE_INGEST_PASSWORD",
        "HALFTONE_WORKER_PASSWORD",
        "HALFTONE_NOTIFIER_PASSWORD",
        "HALFTONE_STATUS_PASSWORD",
        "HALFTONE_WEBHOOK_SECRET",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    }
)
"""Variables that may be given as NAME_FILE. Google's credentials are a file by themselves."""


def secrets_from_files(environment: Mapping[str, str]) -> dict[str, str]:
    """What stands in files that NAME_FILE names, by NAME, without white space at its ends. Empty ones set nothing.

    Raises:
        ValueError: NAME is set as well, or its file cannot be read.

    """
    found = {}
    for name in sorted(SECRETS):
        if not (path := environment.get(f"{name}_FILE")):
            continue
        if environment.get(name):
            raise ValueError(f"{name}: {name}_FILE is set too, and only one of them may be")
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{name}_FILE: the file cannot be read ({type(error).__name__})") from None
        if value:
            found[name] = value
    return found
