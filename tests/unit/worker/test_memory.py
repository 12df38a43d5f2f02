"""The worker's memory: what sources leave is used again."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
from services.worker.__main__ import keep_freed_memory
keep_freed_memory()
held = [bytearray(225_000) for _ in range(16)]
del held
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    held = [bytearray(225_000) for _ in range(16)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries have no such option")
def test_a_batch_of_sources_uses_the_memory_of_the_one_before() -> None:
    faults = int(subprocess.check_output((sys.executable, "-c", FAULTS), text=True))
    assert faults < 20 * 16  # without it more than 50 for each source
