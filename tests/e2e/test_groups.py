"""Tests that share a stack run in one process."""

import pytest


def test_xdist_is_told_of_groups(request: pytest.FixtureRequest) -> None:
    """It hides the group in the test's name; with a pytest that does not let it, each process starts all stacks."""
    if getattr(request.config.option, "loadgroup", False):
        assert request.node.nodeid.endswith("@test_groups")
