"""Everything that leaves for an address a user gave."""

from shared.egress.client import Answer, Egress, Fetched
from shared.egress.guard import check_url

__all__ = ["Answer", "Egress", "Fetched", "check_url"]
