"""A webhook receiver that misbehaves as its URL says: `/hook/{how}/{key}`.

The first POST of an event is treated as `how` says, every later one is answered 200.
"""

from deploy.demo.origin import Exchange
from deploy.demo.receiver import Receiver
from tests.origin import close_at_once, late, redirect, status

SLOW_SECONDS = 6.0
"""Above the notifier's timeout in these runs."""
BEHAVIOURS = {
    "ok": status(200),
    "close": close_at_once,
    "slow": late(status(200), seconds=SLOW_SECONDS),
    "302": redirect("/hook/ok/elsewhere"),
    "500": status(500),
    "410": status(410),
}


class MisbehavingReceiver(Receiver):
    """Keeps every POST, whatever it answers."""

    def __call__(self, exchange: Exchange) -> None:
        arrival = self.take(exchange.request)
        first = next(one for one in self.arrivals if one.event_id == arrival.event_id) is arrival
        how = exchange.request.path.split("/")[2]
        BEHAVIOURS[how if first or how == "410" else "ok"](exchange)
