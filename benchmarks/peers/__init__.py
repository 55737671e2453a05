"""This service beside the obvious loop and tiatoolbox: same slide, same network, same threads, a process each.

`task`, `process`, `plain_network` and what begins with `tiatoolbox` also run in tiatoolbox's virtual environment, where
of this repository's requirements only torch, numpy, pillow and safetensors are sure to be installed.
"""
