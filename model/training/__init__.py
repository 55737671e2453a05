"""Train a network: loss, recipes, training loop, checkpoints."""
