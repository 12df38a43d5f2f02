"""Imported by the fork server alone, once: every child is forked from it with all of this done.

The traps: it starts its process again and makes it ignore SIGTERM and SIGINT, so no other process may import it; and
once a child is confined it imports nothing more, so all that is imported when it is first used has to be here already.
"""

import os
import signal
import sys

_KEPT = ("PYTHON", "LD_LIBRARY_PATH", "LC_CTYPE")  # Python sets the last one itself
if sys.version_info < (3, 14) and any(not name.startswith(_KEPT) for name in os.environ):
    # The worker's environment has passwords, and only a new program has no trace of it in its memory.
    # From Python 3.14 on the fork server has read its key by now and could not read it again.
    kept = {name: value for name, value in os.environ.items() if name.startswith(_KEPT)}
    os.execve(sys.executable, sys.orig_argv, kept)  # noqa: S606 - itself
os.environ.clear()

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy's: it is no more than a buffer here, and threads do not survive a fork
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a supervisor signals the whole process group; the worker decides
signal.signal(signal.SIGINT, signal.SIG_IGN)

from services.worker.codec import guards, pipeline  # noqa: E402, F401 - signals first: importing Pillow takes a while
from services.worker.codec_pool import child  # noqa: E402, F401

guards.import_all()
guards.keep_freed_pixels()
