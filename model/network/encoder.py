"""ResNet encoders with features at strides 4, 8, 16 and 32 (He et al. 2016).

State-dict names and shapes are those of the common ImageNet checkpoints (torchvision, timm) without `fc`, so
at width 64 these load unchanged.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

ENCODER_BLOCKS: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Depth -> residual blocks in each of the four layers."""


def _downsample(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convs and a shortcut (depths 18 and 34)."""

    expansion = 1

    def __init__(self, in_channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = _downsample(in_channels, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, expansion * planes, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)) + shortcut, inplace=True)


class Bottleneck(nn.Module):
    """Residual block of convs 1x1, 3x3 (with the stride) and 1x1, and a shortcut (depths 50 and up)."""

    expansion = 4

    def __init__(self, in_channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample = _downsample(in_channels, 4 * planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, expansion * planes, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return F.relu(self.bn3(self.conv3(x)) + shortcut, inplace=True)


class ResNetEncoder(nn.Module):
    """ResNet of a given depth without its classifier.

    `width` is the channel count of the stem: 64 in the paper, less for small networks.
    """

    def __init__(self, depth: int, width: int = 64) -> None:
        super().__init__()
        block: Callable[[int, int, int], BasicBlock | Bottleneck]
        block, expansion = (BasicBlock, 1) if depth < 50 else (Bottleneck, 4)
        self.channels = tuple(width * 2**k * expansion for k in range(4))
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        in_channels = width
        for k, count in enumerate(ENCODER_BLOCKS[depth]):
            strides = [1 if k == 0 else 2, *[1] * (count - 1)]
            entries = [in_channels, *[self.channels[k]] * (count - 1)]
            layer = [
                block(entry, width * 2**k, stride) for entry, stride in zip(entries, strides, strict=True)
            ]
            self.add_module(f"layer{k + 1}", nn.Sequential(*layer))
            in_channels = self.channels[k]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the four feature maps, fine to coarse, of normalised images (N, 3, H, W).

        H and W are multiples of 32; map k is (N, channels[k], H / 4 / 2^k, W / 4 / 2^k).
        """
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        features = []
        for k in range(1, 5):
            x = self.get_submodule(f"layer{k}")(x)
            features.append(x)
        return features


def fold_batch_norms(network: nn.Module) -> None:
    """Merge every batch norm into the conv before it, in place; for inference only (eval mode).

    Pairs are `conv1` and `bn1`, `conv2` and `bn2` and so on, and the first two of a sequence.
    """
    for module in network.modules():
        for k in range(1, 4):
            _fold_pair(module, f"conv{k}", f"bn{k}")
        _fold_pair(module, "0", "1")


def _fold_pair(module: nn.Module, conv_name: str, norm_name: str) -> None:
    conv, norm = getattr(module, conv_name, None), getattr(module, norm_name, None)
    if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
        setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
        setattr(module, norm_name, nn.Identity())
