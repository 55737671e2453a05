"""Versions of rules of ours that labels depend on, beside slide, model and parameters."""

TISSUE_RULES = 2
"""Version of what `wsi.tissue` counts as tissue; it grows whenever the same slide would get another mask.
Results that do not state it were made by rules 1: square neighbourhoods, ink and black borders left in."""
