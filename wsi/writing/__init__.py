"""Store label maps and write them as pyramidal TIFFs."""
