"""Entry of `python -m benchmarks.peers`."""

from .command import main

main()
