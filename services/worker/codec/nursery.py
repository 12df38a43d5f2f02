"""Imported by the fork server alone: what a child needs is imported once, before the children are forked from it.

Never import it elsewhere: it makes its process deaf to SIGTERM, which a supervisor sends to the whole process group.
"""

import signal

from services.worker import codec_pool  # noqa: F401 - for the children
from services.worker.codec import pipeline  # noqa: F401 - for the children

signal.signal(signal.SIGTERM, signal.SIG_IGN)
