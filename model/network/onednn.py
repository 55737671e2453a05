"""Run the convolutions of a network on a CPU in oneDNN, whatever the threads and the size of maps."""

import torch
from torch import Tensor, nn


class OneDnnConv2d(nn.Conv2d):
    """Convolution in oneDNN, for inference.

    In float32 `nn.Conv2d` takes an older algorithm for kernels of 1x1 on one thread, and for small maps of a
    single image. It is slower, and rounds otherwise, so labels would depend on threads and batches
    (docs/decisions/0086).
    """

    def forward(self, maps: Tensor, *, padded: bool = True) -> Tensor:
        """Convolve maps (N, C, H, W); not `padded`: leave out the pixels whose values need the padding."""
        assert not isinstance(self.padding, str), "use_onednn leaves these alone"
        padding = self.padding if padded else (0, 0)
        convolved: Tensor = torch.mkldnn_convolution(
            maps, self.weight, self.bias, padding, self.stride, self.dilation, self.groups
        )
        return convolved


def use_onednn(network: nn.Module) -> None:
    """Make the convolutions of a network OneDnnConv2d, in place, if this build of torch has oneDNN."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for module in network.modules():
        if type(module) is nn.Conv2d and (module.padding_mode, type(module.padding)) == ("zeros", tuple):
            module.__class__ = OneDnnConv2d
