"""The machine and the versions, without its name or any path."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from PIL import features

from deploy.local.postgres import binaries
from tests.bench.limit import CORES
from tests.stack import ROOT

PACKAGES = (
    *("pillow", "simplejpeg", "dramatiq", "redis", "psycopg", "sqlalchemy", "starlette", "uvicorn"),
    *("uvloop", "httptools", "celery", "requests"),
)


def facts() -> dict[str, Any]:
    """What a reader needs to compare the figures with those of another machine."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _shown("git", "rev-parse", "--short", "HEAD"),
        "cores": CORES,
        "cpu": _cpu_model(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "postgresql": _shown(str(binaries() / "postgres"), "--version").rpartition(" ")[2],
        "libjpeg-turbo": features.version("libjpeg_turbo") or "none",
        "load": round(os.getloadavg()[0], 1),
        **{name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return "not installed"


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def _shown(*command: str) -> str:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
