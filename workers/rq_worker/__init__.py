"""Take jobs from the queue and drive the engine process. Redis, no torch."""
