"""Run jobs, and the processes that do it: queue, records, workers, engine process, supervisor."""
