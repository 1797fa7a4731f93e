"""The datasets by name, and the one shape that they all come in."""
