"""DA-RefineNet (Li et al. 2020, arXiv 1907.06358, section III): every variant of its tables in one class."""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import (
    Adaptation,
    AddFusion,
    AttentionFusion,
    CoarseFusion,
    ConcatFusion,
    Refinement,
    ResidualConvUnit,
)
from .encoder import ResNetEncoder
from .errors import InputError

Fusion = Literal["attention", "concat", "add"]
SecondInput = Literal["dual", "multi-size", "single"]

FUSIONS = {"attention": AttentionFusion, "concat": ConcatFusion, "add": AddFusion}


@dataclass(frozen=True, slots=True)
class ContextFeatures:
    """What a context tells its slices; computed once a patch.

    `coarse` (P, 2 * width, h, w) is the stride-32 map of the first refine block; `pooled` holds (P, width)
    vectors for the three finer blocks, coarse to fine.
    """

    coarse: Tensor
    pooled: tuple[Tensor, Tensor, Tensor]

    def repeated(self, times: int) -> "ContextFeatures":
        """Each patch's features `times` over, in patch-major order."""
        if times == 1:
            return self
        first, second, third = (vector.repeat_interleave(times, 0) for vector in self.pooled)
        return ContextFeatures(self.coarse.repeat_interleave(times, 0), (first, second, third))


class DaRefineNet(nn.Module):
    """Two ResNet encoders and four refine blocks, coarse to fine, of widths 2w, w, w, w (paper: w = 256).

    `second_input`: "dual" sees the patch as context; "multi-size" sees the slice itself at half size in its
    place (so nothing can be cached); "single" has no second branch, and the two units that each block spends
    on its second input work on O_{k-1} instead, as in RefineNet (in the first block, on the slice), which
    gives the sizes of the paper's Table I. Context enters the first block as a map and all finer blocks as
    globally pooled features, whatever the fusion: this lets it be encoded once for all slices of a patch.
    """

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
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.second_input = second_input
        has_context = second_input != "single"
        widths = (
            decoder_width,
            decoder_width,
            decoder_width,
            2 * decoder_width,
        )  # fine to coarse, as the encoder
        self.encoder = ResNetEncoder(encoder_depth, encoder_width)
        self.adapt = _adaptations(self.encoder, widths)
        if has_context:
            self.context_encoder = ResNetEncoder(context_depth, encoder_width)
            self.context_adapt = _adaptations(self.context_encoder, widths)
            self.coarse_fusion = CoarseFusion(widths[3], concatenate=fusion != "add")
        else:
            units = (nn.Sequential(ResidualConvUnit(width), ResidualConvUnit(width)) for width in widths)
            self.previous_units = nn.ModuleList(units)
        self.fuse = nn.ModuleList(FUSIONS[fusion](width, has_context=has_context) for width in widths[:3])
        self.refine = nn.ModuleList(Refinement(width) for width in widths)
        self.reduce = nn.Conv2d(widths[3], decoder_width, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Conv2d(decoder_width, classes, 3, padding=1)

    def encode_context(self, context: Tensor) -> ContextFeatures:
        """Features of contexts (P, 3, h, w), normalised, sides multiples of 32 ("dual" networks only need
        this)."""
        maps = [adapt(x) for adapt, x in zip(self.context_adapt, self.context_encoder(context), strict=True)]
        first, second, third = (maps[k].mean((2, 3)) for k in (2, 1, 0))
        return ContextFeatures(maps[3], (first, second, third))

    def forward(self, slices: Tensor, context: Tensor | ContextFeatures | None = None) -> Tensor:
        """Logits (N, K, H / 4, W / 4) of slices (N, 3, H, W), normalised, sides multiples of 32.

        "dual" networks need the context of P patches, raw (P, 3, h, w) or encoded; N is a multiple of P and
        slice i belongs to patch i // (N / P). Other networks ignore it. Raises InputError for sizes that
        cannot be.
        """
        self._check(slices)
        encoded = self._context_for(slices, context)
        maps = [adapt(x) for adapt, x in zip(self.adapt, self.encoder(slices), strict=True)]
        if encoded is None:
            fused = self.previous_units[3](maps[3])
        else:
            # Slice and context may differ in size; at stride 32 the context map is laid over the slice's grid.
            coarse = F.interpolate(
                encoded.coarse, size=maps[3].shape[2:], mode="bilinear", align_corners=False
            )
            fused = self.coarse_fusion(maps[3], coarse)
        output = self.reduce(self.refine[3](fused))
        for block, k in enumerate((2, 1, 0)):
            output = F.interpolate(output, size=maps[k].shape[2:], mode="bilinear", align_corners=False)
            if encoded is None:
                fused = self.fuse[k](maps[k], self.previous_units[k](output), None)
            else:
                fused = self.fuse[k](maps[k], output, encoded.pooled[block])
            output = self.refine[k](fused)
        logits: Tensor = self.classify(self.dropout(output))
        return logits

    def _context_for(
        self, slices: Tensor, context: Tensor | ContextFeatures | None
    ) -> ContextFeatures | None:
        if self.second_input == "single":
            return None
        if self.second_input == "multi-size":
            # Half the size, kept a multiple of 32 so that every stride divides it.
            height, width = (max(32, side // 2 // 32 * 32) for side in slices.shape[2:])
            return self.encode_context(F.adaptive_avg_pool2d(slices, (height, width)))
        if context is None:
            raise InputError("a dual-input network needs the patch as context: pass `context`")
        encoded = context if isinstance(context, ContextFeatures) else self.encode_context(context)
        count, patches = slices.shape[0], encoded.coarse.shape[0]
        if count % patches:
            raise InputError(
                f"{count} slices cannot share {patches} contexts evenly: batch whole patches together"
            )
        return encoded.repeated(count // patches)

    @staticmethod
    def _check(slices: Tensor) -> None:
        if slices.ndim != 4 or slices.shape[1] != 3 or slices.shape[2] % 32 or slices.shape[3] % 32:
            raise InputError(
                f"slices must be (N, 3, H, W) with sides multiples of 32, not {tuple(slices.shape)}"
            )


def _adaptations(encoder: ResNetEncoder, widths: tuple[int, ...]) -> nn.ModuleList:
    return nn.ModuleList(Adaptation(c, width) for c, width in zip(encoder.channels, widths, strict=True))
