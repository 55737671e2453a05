"""`python -m benchmarks.study`."""

from model.host import keep_freed_memory, yield_idle_cores

if __name__ == "__main__":
    yield_idle_cores()
    keep_freed_memory()
    from .command import main  # what it imports loads torch, which must be told first

    main()
