"""What every step costs in tables that hold a hundred times as much."""
