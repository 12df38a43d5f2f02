"""Imported by the fork server alone, once: every child is forked from it with all of this done.

The trap: it makes its process ignore SIGTERM and SIGINT, so no other process may import it.
"""

import os
import signal

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy's: it is no more than a buffer here, and threads do not survive a fork
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a supervisor signals the whole process group; the worker decides
signal.signal(signal.SIGINT, signal.SIG_IGN)

from services.worker.codec import guards, pipeline  # noqa: E402, F401 - signals first: importing Pillow takes a while
from services.worker.codec_pool import child  # noqa: E402, F401

guards.keep_freed_pixels()
