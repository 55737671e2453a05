"""HTTP front end: takes slides and jobs, hands out results. Never imports torch."""
