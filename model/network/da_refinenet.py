"""DA-RefineNet (Li et al. 2020, arXiv 1907.06358, section III): every variant of its tables in one class."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .base import ContextFeatures, ContextWindows, SegmentationNetwork, check_slices
from .blocks import (
    Adaptation,
    AddFusion,
    AttentionFusion,
    CoarseFusion,
    ConcatFusion,
    Refinement,
    ResidualConvUnit,
    box_means,
    convolve,
    crop_at,
    laid_over,
)
from .encoder import ResNetEncoder

Fusion = Literal["attention", "concat", "add"]
SecondInput = Literal["dual", "aligned", "hooked", "multi-size", "single"]
Decoder = Literal["paper", "light"]

FUSIONS = {"attention": AttentionFusion, "concat": ConcatFusion, "add": AddFusion}


class DaRefineNet(SegmentationNetwork):
    """DA-RefineNet: two ResNet encoders and four refine blocks, coarse to fine (paper section III).

    The blocks have widths 2w, w, w, w (paper: w = 256). `second_input`: "dual" sees the patch as context;
    "aligned" does so too and is told where in it the slice lies (below); "multi-size" sees the slice itself
    at half size instead of the patch (so nothing can be cached); "single" has no second branch, and the two
    units that each block spends on its second input work on O_{k-1} instead, as in RefineNet (in the first
    block, on the slice), which gives the sizes of the paper's Table I.

    The context X is encoded once for all slices of a patch. It enters the first block as a map. The finer
    blocks take it as the fusion of the paper does: "add" and "concat" as maps of their own scales, resized to
    the slice's grid (X_S + X + O_{k-1}, and their concatenation), "attention" as globally pooled features.

    "aligned" is not in the paper, whose network is never told where in the patch its slice lies. At each of
    the four scales the adapted context map passes a 1x1 conv, once a patch; it is then cropped at the slice's
    box, resized to the slice's grid and added to X_S. All else is as in "dual", and with these convs at zero
    it is that network. The crop joins X_S and not X because the paper's attention reads X only through its
    mean, which has no positions. No margin is cropped around the slice: at the coarser scales each pixel of
    these maps sees well beyond it.

    "hooked" joins the context once, at the bottleneck, as HookNet does (van Rijthoven et al. 2021, Medical
    Image Analysis 68): its maps of all four scales pass 1x1 convs, are cropped at the slice's box on the grid
    of the slice's coarsest map, added up and concatenated to that. The finer blocks are those of "single".

    `coarse_context` False leaves the whole context map out of the first block: resized to the slice's grid it
    lays the layout of the patch over each of its slices.

    `decoder` "light" is not in the paper: seven eighths of the arithmetic are 3x3 convs of the decoder, most
    of them at stride 4. It follows Light-Weight RefineNet (Nekrasov et al., BMVC 2018): 1x1 convs in the
    residual units behind the fusions, no units behind the 1x1 reductions; neighbours are seen by encoder and
    pooling.
    """

    logit_px = 4

    def __init__(
        self,
        classes: int,
        *,
        encoder_depth: int = 50,
        context_depth: int = 50,
        encoder_width: int = 64,
        decoder_width: int = 256,
        fusion: Fusion = "attention",
        second_input: SecondInput = "dual",
        coarse_context: bool = True,
        decoder: Decoder = "paper",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.second_input = second_input
        self.pools_context = fusion == "attention"
        has_context, light = second_input != "single", decoder == "light"
        self.fuses_finer = has_context and second_input != "hooked"
        widths = (*[decoder_width] * 3, 2 * decoder_width)  # fine to coarse, as the encoder
        self.encoder = ResNetEncoder(encoder_depth, encoder_width)
        self.adapt = _adaptations(self.encoder, widths, light=light)
        if has_context:
            self.context_encoder = ResNetEncoder(context_depth, encoder_width)
            self.context_adapt = _adaptations(self.context_encoder, widths, light=light)
            concatenate = fusion != "add" or second_input == "hooked"
            self.coarse_fusion = CoarseFusion(widths[3], concatenate=concatenate) if coarse_context else None
        if not self.fuses_finer:
            self.previous_units = _unit_pairs(widths[:3] if has_context else widths, light=light)
        fuse = (FUSIONS[fusion](width, has_context=self.fuses_finer) for width in widths[:3])
        self.fuse = nn.ModuleList(fuse)
        self.refine = nn.ModuleList(Refinement(width, light=light) for width in widths)
        self.reduce = nn.Conv2d(widths[3], decoder_width, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Conv2d(decoder_width, classes, 3, padding=1)
        if second_input in {"aligned", "hooked"}:
            # Last, so that a seed gives "aligned" the first weights of "dual" and these besides.
            into = widths if second_input == "aligned" else (widths[3],) * 4
            pairs = zip(widths, into, strict=True)
            self.align = nn.ModuleList(nn.Conv2d(width, out, 1, bias=False) for width, out in pairs)

    def encode_context(self, context: Tensor, windows: ContextWindows | None = None) -> ContextFeatures:
        """Encode contexts (P, 3, h, w), normalised, sides multiples of 32, for use in `forward`.

        With `windows`, of one context (P = 1), the features are those of each window, cut out of the
        context's maps: the encoder runs once for all of them, and sees beyond each window's edge.

        Raises:
            InputError: The network is of the kind "single", which takes no context.
        """
        if self.second_input == "single":
            return super().encode_context(context)
        maps = [adapt(x) for adapt, x in zip(self.context_adapt, self.context_encoder(context), strict=True)]
        features = ContextFeatures(maps[3])
        if windows is not None:
            features = replace(features, coarse=_crops(maps[3], windows), windows=windows.boxes)
        finer = maps[2], maps[1], maps[0]
        if self.fuses_finer and self.pools_context:
            features = replace(features, pooled=tuple(_pooled(x, windows) for x in finer))
        elif self.fuses_finer:
            projected = (self.fuse[k].get_submodule("project")(maps[k]) for k in (2, 1, 0))
            features = replace(features, maps=tuple(projected))
        if self.second_input in {"aligned", "hooked"}:
            # A 1x1 conv and bilinear sampling commute: before the crop the conv runs once a patch, not once a
            # slice.
            aligned = tuple(align(x).float() for align, x in zip(self.align, maps, strict=True))
            features = replace(features, aligned=aligned)
        return features

    def forward(
        self,
        slices: Tensor,
        context: Tensor | ContextFeatures | None = None,
        boxes: Tensor | None = None,
        margin: int = 0,
    ) -> Tensor:
        """Compute logits (N, K, H / 4, W / 4) of slices (N, 3, H, W); see `SegmentationNetwork.forward`.

        "dual", "aligned" and "hooked" networks need `context`, the latter two `boxes` as well. `margin`
        logits at each edge are left out, and the last refine block computes nothing that only they need;
        those that are left are the same to the bit (docs/decisions/0065). Its fusion pools over the whole
        slice all the same.

        Raises:
            InputError: An input that the network needs is missing, or a shape is not allowed.
        """
        check_slices(slices)
        encoded = self._context_for(slices, context)
        maps = [adapt(x) for adapt, x in zip(self.adapt, self.encoder(slices), strict=True)]
        if encoded is not None and self.second_input == "aligned":
            maps = [own + crop for own, crop in zip(maps, _aligned_crops(maps, encoded, boxes), strict=True)]
        output = self.reduce(self.refine[3](self._first_fusion(maps, encoded, boxes)))
        for block, k in enumerate((2, 1, 0)):
            output = F.interpolate(output, size=maps[k].shape[2:], mode="bilinear", align_corners=False)
            if encoded is None or not self.fuses_finer:
                fused = self.fuse[k](maps[k], self.previous_units[k](output), None)
            else:
                fused = self.fuse[k](maps[k], output, self._finer_context(encoded, block, maps[k]))
            # The classifier takes the last px of the margin.
            output = self.refine[k](fused, margin - 1 if margin and k == 0 else 0)
        return convolve(self.classify, self.dropout(output), valid=margin > 0)

    def _first_fusion(
        self, maps: Sequence[Tensor], encoded: ContextFeatures | None, boxes: Tensor | None
    ) -> Tensor:
        coarsest = maps[3]
        if encoded is None:
            fused: Tensor = self.previous_units[3](coarsest)
            return fused
        if self.coarse_fusion is None:
            return coarsest
        if self.second_input == "hooked":
            context = sum(_aligned_crops([coarsest] * 4, encoded, boxes), torch.zeros_like(coarsest))
        else:
            # Slice and context may differ in size.
            context = laid_over(encoded.coarse, None, coarsest.shape[2:])
        return self.coarse_fusion(coarsest, context)  # type: ignore[no-any-return]

    def _finer_context(self, encoded: ContextFeatures, block: int, slices: Tensor) -> Tensor:
        """Return what a finer block takes of the context: pooled features, or a map on the slices' grid."""
        if self.pools_context:
            return encoded.pooled[block]
        return laid_over(encoded.maps[block], encoded.windows, slices.shape[2:])

    def _context_for(
        self, slices: Tensor, context: Tensor | ContextFeatures | None
    ) -> ContextFeatures | None:
        """Encode the second input, if the network has one, and repeat it for every slice."""
        if self.second_input == "single":
            return None
        if self.second_input == "multi-size":
            # Half the size, kept a multiple of 32 so that every stride divides it.
            height, width = (max(32, side // 2 // 32 * 32) for side in slices.shape[2:])
            return self.encode_context(F.adaptive_avg_pool2d(slices, (height, width)))
        if context is None:
            raise InputError(
                f'a network with second_input="{self.second_input}" needs the patch as context: '
                "pass `context`"
            )
        encoded = context if isinstance(context, ContextFeatures) else self.encode_context(context)
        count, patches = slices.shape[0], encoded.coarse.shape[0]
        if count % patches:
            raise InputError(
                f"{count} slices cannot share {patches} contexts evenly: batch whole patches together"
            )
        return encoded.repeated(count // patches)


def _aligned_crops(maps: Sequence[Tensor], encoded: ContextFeatures, boxes: Tensor | None) -> list[Tensor]:
    """Crop the context's map of each scale at the slice's box, on the grid and in the dtype of `maps`."""
    # Not `len`, which an export would take for a constant.
    count = maps[0].shape[0]
    if boxes is None or boxes.shape != (count, 4):
        found = "nothing" if boxes is None else tuple(boxes.shape)
        raise InputError(
            f"an aligned or hooked network needs `boxes` ({count}, 4), left, top, right and bottom of each "
            f"slice as fractions of its context's sides, not {found}"
        )
    # Slices with windows of their own share the maps of one context.
    shared = (x.expand(count, -1, -1, -1) if x.shape[0] == 1 else x for x in encoded.aligned)
    crops = (crop_at(x, boxes.float(), own.shape[2:]) for x, own in zip(shared, maps, strict=True))
    return [crop.to(own.dtype) for own, crop in zip(maps, crops, strict=True)]


def _pooled(maps: Tensor, windows: ContextWindows | None) -> Tensor:
    """Average each context, or each window of one: (P, C) or (N, C)."""
    return maps.mean((2, 3)) if windows is None else box_means(maps, windows.boxes)


def _crops(coarse: Tensor, windows: ContextWindows) -> Tensor:
    """Cut each window out of the stride-32 map of one context, at the map's own resolution."""
    side, count = windows.side_px // 32, windows.boxes.shape[0]
    shared = coarse.float().expand(count, -1, -1, -1)
    return crop_at(shared, windows.boxes, (side, side)).to(coarse.dtype)


def _adaptations(encoder: ResNetEncoder, widths: tuple[int, ...], *, light: bool) -> nn.ModuleList:
    pairs = zip(encoder.channels, widths, strict=True)
    return nn.ModuleList(Adaptation(channels, width, light=light) for channels, width in pairs)


def _unit_pairs(widths: Sequence[int], *, light: bool) -> nn.ModuleList:
    kernel: Literal[1, 3] = 1 if light else 3
    pairs = ((ResidualConvUnit(width, kernel) for _ in range(2)) for width in widths)
    return nn.ModuleList(nn.Sequential(*pair) for pair in pairs)
