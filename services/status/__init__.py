"""Tells how far a request is and hands out its results; it never writes."""
