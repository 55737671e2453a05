"""Entry of `python -m benchmarks.study`."""

from model.inference.cpu_tuning import tune_malloc, tune_openmp_wait

if __name__ == "__main__":
    tune_openmp_wait()
    tune_malloc()
    from .command import main  # what it imports loads torch, which must be told first

    main()
