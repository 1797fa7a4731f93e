"""The leaderboard of spairc."""
