"""Tests, mirroring the rooms."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""

WEIGHTS = ROOT / "weights"
"""The demo model cards and weights."""
