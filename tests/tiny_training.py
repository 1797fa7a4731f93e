"""What makes a recipe's network so small that a test trains it in a second."""

TINY_NETWORK = (
    *("network.side=64", "network.cells=4", "network.blocks=[1,1,1,1]", "network.width=4"),
    *("network.layers=[2,3]", "network.weights=random"),
)
