"""Webhooks: tell other programs what has become of jobs and batches."""
