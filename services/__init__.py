"""The four services of the journey; none imports another.

All of them import redis-py, which imports OpenTelemetry's metrics wherever that is installed: 50 ms of the processor
and 3 MB a process, for what is not used. So they import it here, where it finds none.
"""

import sys

if _hidden := "opentelemetry" not in sys.modules:
    sys.modules["opentelemetry"] = None  # type: ignore[assignment]
import redis.asyncio

if _hidden:
    del sys.modules["opentelemetry"]
__all__ = ["redis"]
