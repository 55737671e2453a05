"""The network, its weights and cards, training and metrics. Importing this package does not import torch."""
