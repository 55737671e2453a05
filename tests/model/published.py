"""Names and shapes of torchvision's and timm's ImageNet checkpoints, written down apart from our encoders."""

from collections.abc import Iterator

Shapes = dict[str, tuple[int, ...]]

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def resnet_checkpoint(depth: int) -> Shapes:
    """All entries of the state dict of ResNet-18, -34 or -50, the classifier `fc` included."""
    expansion = 1 if depth < 50 else 4
    shapes: Shapes = {"conv1.weight": (64, 3, 7, 7), **_norm("bn1", 64)}
    channels = 64
    for layer, (planes, count) in enumerate(zip((64, 128, 256, 512), BLOCKS[depth], strict=True), start=1):
        for block in range(count):
            name = f"layer{layer}.{block}"
            for k, shape in enumerate(_convs(channels, planes, expansion), start=1):
                shapes |= {f"{name}.conv{k}.weight": shape, **_norm(f"{name}.bn{k}", shape[0])}
            if block == 0 and (layer > 1 or expansion > 1):
                shapes[f"{name}.downsample.0.weight"] = (planes * expansion, channels, 1, 1)
                shapes |= _norm(f"{name}.downsample.1", planes * expansion)
            channels = planes * expansion
    return {**shapes, "fc.weight": (1000, channels), "fc.bias": (1000,)}


def _convs(channels: int, planes: int, expansion: int) -> Iterator[tuple[int, ...]]:
    if expansion == 1:
        yield from ((planes, channels, 3, 3), (planes, planes, 3, 3))
    else:
        yield from ((planes, channels, 1, 1), (planes, planes, 3, 3), (planes * expansion, planes, 1, 1))


def _norm(name: str, channels: int) -> Shapes:
    parts: Shapes = {
        f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")
    }
    return {**parts, f"{name}.num_batches_tracked": ()}
