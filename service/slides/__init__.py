"""Receive, check and store the slides that jobs run on."""
