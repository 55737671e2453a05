"""Run a fleet of three hosts on one machine, of which one is wrong, and measure what the queue costs."""
