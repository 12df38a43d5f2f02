"""The status service: how far a request is, and its results. It reads and never writes."""
