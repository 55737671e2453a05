"""What was measured, and the programs that measured it. Results lie in `results/`."""

from model.inference.cpu_tuning import tune_openmp_wait

# Before any of them imports torch.
tune_openmp_wait()
