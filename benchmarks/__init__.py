"""Programs that measure this software. Their results lie in `results/`."""

from model.inference.cpu_tuning import tune_openmp_wait

# OpenMP reads its settings when torch is imported, so before any of the programs does.
tune_openmp_wait()
