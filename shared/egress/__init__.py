"""Every request to an address that a user gave."""

from shared.egress.client import Answer, Egress

__all__ = ["Answer", "Egress"]
