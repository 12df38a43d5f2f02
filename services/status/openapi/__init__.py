"""The OpenAPI 3.1 document of the whole public API: the calls of ingest and of status."""

from services.status.openapi.document import document

__all__ = ["document"]
