"""Networks, weights, model cards, training and metrics. Importing this package does not import torch."""
