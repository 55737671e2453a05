"""Break a running service on purpose, at random moments, and count what was lost."""
