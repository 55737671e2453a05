"""`python -m darefine`."""

from .main import main

main()
