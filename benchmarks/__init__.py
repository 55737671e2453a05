"""What was measured, and the programs that measured it. Results lie in `results/`."""

from model.host import yield_idle_cores

# Before any of them imports torch.
yield_idle_cores()
