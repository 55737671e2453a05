"""Benchmark of this service against a naive loop and tiatoolbox.

All get the same slide, network and threads, and a process each.

`task`, `process`, `plain_network` and what begins with `tiatoolbox` also run in tiatoolbox's virtual
environment, where of this repository's requirements only torch, numpy, pillow and safetensors are sure
to be installed.
"""
