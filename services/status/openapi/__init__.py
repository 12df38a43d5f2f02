"""The OpenAPI 3.1 document of the whole public API (ingest's calls and status'), written by hand."""

from services.status.openapi.document import document

__all__ = ["document"]
