"""Store slides that clients upload or register."""
