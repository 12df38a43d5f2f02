"""Fetches every image and compresses it: groups of pipelines."""
