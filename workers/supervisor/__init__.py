"""Start, watch and restart the processes of a single-host service. No torch."""
