"""Jobs and the processes that run them: queue, records, workers, model process, supervisor."""
