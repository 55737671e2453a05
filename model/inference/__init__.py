"""Run a network over the slices of a patch: batching, precision, argmax."""
