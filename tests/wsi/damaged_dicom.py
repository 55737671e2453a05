"""Ways to damage a DICOM slide; some crash the C library that reads it, and may not harm more than that."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import simplejpeg
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, UID, JPEGBaseline8Bit

Damage = Callable[[Path], None]

SIDE_PX = 4096
"""Of a JPEG that is to be a frame of 256 px."""

NESTED = b"\x40\x00\x30\xa7SQ\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
"""Begin of a sequence (content) and of its first item, both of undefined length."""

IMAGE_GROUP = b"\x28\x00\x02\x00US"
"""Where the description of the pixels begins."""


def stating(**members: object) -> Damage:
    """Return what makes the file state something else."""

    def damage(path: Path) -> None:
        data = dcmread(path)
        for name, value in members.items():
            setattr(data, name, value)
        data.save_as(path)

    return damage


def holding(syntax: UID, frame: bytes) -> Damage:
    """Return what puts other frames, encoded ones, in the place of those there are."""

    def damage(path: Path) -> None:
        data: Dataset = dcmread(path)
        data.file_meta.TransferSyntaxUID, data.PhotometricInterpretation = syntax, "YBR_FULL_422"
        data.PixelData = encapsulate([frame] * data.NumberOfFrames)
        data.save_as(path)

    return damage


def cut_short(path: Path) -> None:
    """Leave half of the file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def nest(path: Path) -> None:
    """Begin more sequences within each other than a stack has room for."""
    head, mark, tail = path.read_bytes().partition(IMAGE_GROUP)
    path.write_bytes(head + NESTED * 100_000 + mark + tail)


DAMAGES: Mapping[str, Damage] = {
    "cut short": cut_short,
    "sequences without end": nest,
    "more frames than there are": stating(NumberOfFrames=2**31 - 1),
    "no frames": stating(NumberOfFrames=0),
    "frames too large for memory": stating(Rows=65_535, Columns=65_535),
    "frames of nothing": stating(Rows=0, Columns=0),
    "more pixels than any slide": stating(TotalPixelMatrixRows=2**31, TotalPixelMatrixColumns=2**31),
    "pixels without frames": stating(TotalPixelMatrixRows=9000, TotalPixelMatrixColumns=1000),
    "16 bits": stating(BitsAllocated=16, BitsStored=16, HighBit=15),
    "frames without places": stating(DimensionOrganizationType="TILED_SPARSE"),
    "noise for JPEG": holding(JPEGBaseline8Bit, b"\xff\xd8" + np.random.default_rng(1).bytes(500)),
    "noise for JPEG 2000": holding(JPEG2000, np.random.default_rng(2).bytes(500)),
    "frames of another size": holding(
        JPEGBaseline8Bit, simplejpeg.encode_jpeg(np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8))
    ),
}
