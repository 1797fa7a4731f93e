"""The matchers of spairc."""
