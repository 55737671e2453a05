"""Entry of `python -m darefine`."""

from .cli.main import main

main()
