"""Turn one job into its result files. Torch, no Redis."""
