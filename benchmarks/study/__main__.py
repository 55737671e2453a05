"""`python -m benchmarks.study`."""

from model.host import yield_idle_cores

if __name__ == "__main__":
    yield_idle_cores()
    from .command import main  # what it imports loads torch, which must be told first

    main()
