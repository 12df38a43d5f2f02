"""Dramatiq, and the only place that knows it. Its traps, all reproduced: see docs/adr/0002 and 0004."""

from shared.broker.connection import connect, send, send_group
from shared.broker.queues import Broker
from shared.broker.receivers import declare, in_hand, receivers, receives

__all__ = ["Broker", "connect", "declare", "in_hand", "receivers", "receives", "send", "send_group"]
