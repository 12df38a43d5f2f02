"""The four services of the journey; none imports another."""
