"""Score networks and label maps against truth."""
