"""Make a pyramidal TIFF an OME-TIFF as well: its XML, and its levels listed a second time as SubIFDs.

OME-TIFF readers find levels in the SubIFDs of the first directory, others in the chain of directories. Here
both lists lead to the same directories, so each reader finds the whole pyramid.
"""

import hashlib
import struct
import uuid
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import tifffile

from ..geometry import Size


def ome_description(size: Size, mpp: float, channel: str, text: str, tiles: Iterable[bytes]) -> bytes:
    """Return the ImageDescription of one grey 8-bit channel: OME-XML with `text` as the image's description.

    The UUID is made of text and tiles: same content, same bytes.
    """
    digest = hashlib.sha256(text.encode())
    for tile in tiles:
        digest.update(tile)
    xml = tifffile.OmeXml(UUID=str(uuid.UUID(bytes=digest.digest()[:16], version=4)), Creator="darefine")
    xml.addimage(
        "uint8",
        (size.height, size.width),
        (1, 1, 1, size.height, size.width, 1),
        axes="YX",
        Name=channel,
        Description=text,
        Channel={"Name": channel},
        PhysicalSizeX=mpp,
        PhysicalSizeY=mpp,
    )
    return xml.tostring(declaration=True).encode()


def chain_levels(path: Path) -> None:
    """Link the SubIFDs of a BigTIFF's only directory behind it, in their order."""
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages[0].aspage()
        offsets = [first.offset, *(first.subifds or ())]
    with path.open("rb+") as file:
        for offset, following in pairwise(offsets):
            file.seek(offset)
            (tags,) = struct.unpack("<Q", file.read(8))
            file.seek(offset + 8 + 20 * tags)
            file.write(struct.pack("<Q", following))
