"""The command line `darefine`: the rooms put together."""
