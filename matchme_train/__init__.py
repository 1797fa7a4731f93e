"""The trainer of spairc."""
