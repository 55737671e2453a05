"""Keep job records, leases and waiting lists in Redis. No torch."""
