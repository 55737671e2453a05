"""Write a label map as a DICOM Segmentation (LABELMAP) that refers to the DICOM slide it was made of.

Needs highdicom, the extra `dicom`.
"""

import hashlib
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import highdicom
import numpy as np
import pydicom
from highdicom.frame import encode_frame
from highdicom.seg import Segmentation, SegmentDescription
from PIL import ImageCms
from pydicom.errors import InvalidDicomError
from pydicom.sr.codedict import codes
from pydicom.uid import JPEGLSLossless, VLWholeSlideMicroscopyImageStorage, generate_uid

from ..atomic import atomic_file
from ..errors import OutputUnavailableError
from ..geometry import Rect, Size
from ..grid import TILE_PX, Grid
from ..palette import LabelClass, Palette
from .label_tiff import LabelTiff

_BROKEN_FILE_ERRORS = (
    InvalidDicomError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    NotImplementedError,
    struct.error,
)
_TEXT_LENGTH = 64  # of DICOM's long strings
_ITEM = b"\xfe\xff\x00\xe0"
_MAX_OFFSET = 2**32 - 1
_NO_FRAMES = np.zeros((1, TILE_PX, TILE_PX), np.uint8)


@dataclass(frozen=True, slots=True)
class SegmentationOrigin:
    """What made the labels, as it stands in the file."""

    model: str
    version: str
    weights_sha256: str
    palette: Palette
    software: str


def write_dicom_seg(
    slide_path: Path,
    labels_path: Path,
    grid: Grid,
    origin: SegmentationOrigin,
    out: Path,
    progress: Callable[[float], None] = lambda _share: None,
) -> None:
    """Write level 0 of `labels.tif` as one DICOM file, TILED_FULL, in the study and frame of its slide.

    Value 0 is background; each class is a segment of its value, name and colour. Same labels of the same
    slide, same bytes: UIDs are made of the content, dates are those of the slide. Memory: a few tiles and 12
    bytes a tile, and highdicom's tables, about 110 MB once a process; on disk the frames twice for a while.

    Raises:
        OutputUnavailableError: the slide's DICOM files lack what a segmentation refers to.
        LabelTiffError: `labels.tif` cannot be read.
        OSError: the file cannot be written.
    """
    segmentation = segmentation_header(slide_path, grid, origin)
    with tempfile.TemporaryFile(dir=out.parent) as frames:
        with LabelTiff(labels_path) as labels:
            digest = _write_frames(labels, frames, progress)
        _identify(segmentation, [repr(origin), str(segmentation.SourceImageSequence), digest])
        frames.seek(0)
        segmentation.PixelData = frames
        with atomic_file(out) as temporary:
            segmentation.save_as(temporary)
    progress(1.0)


def segmentation_header(slide_path: Path, grid: Grid, origin: SegmentationOrigin) -> Any:
    """Return the segmentation of a slide's label map, all but its frames and UIDs.

    `slide_path` is one of the slide's files, or their folder.

    Raises:
        OutputUnavailableError: the slide's DICOM files lack what a segmentation refers to.
    """
    source = _source_image(slide_path, grid.slide)
    # As large as the blank: highdicom wants images of one pixel size to be of one size.
    source.TotalPixelMatrixColumns = source.TotalPixelMatrixRows = TILE_PX
    try:
        segmentation = _blank(source, grid.downsample, origin)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise OutputUnavailableError(
            f"The output dicom_seg cannot be made of {slide_path.name}: its DICOM header lacks what a "
            f"segmentation refers to ({' '.join(str(error).split())}). Leave the output out."
        ) from error
    size = grid.label_size
    segmentation.TotalPixelMatrixColumns, segmentation.TotalPixelMatrixRows = size.width, size.height
    segmentation.NumberOfFrames = size.tiles(TILE_PX).pixels
    segmentation.ContentDate = source.get("ContentDate") or "19700101"
    segmentation.ContentTime = source.get("ContentTime") or "000000"
    del segmentation.InstanceCreationDate, segmentation.InstanceCreationTime
    for equipment in segmentation.ContributingEquipmentSequence:
        if equipment.Manufacturer != source.get("Manufacturer") and "ContributionDateTime" in equipment:
            del equipment.ContributionDateTime
    return segmentation


def _source_image(slide_path: Path, size: Size) -> Any:
    """Return the header of the slide's image of `size` px, the finest.

    Raises:
        OutputUnavailableError: there is none.
    """
    folder = slide_path if slide_path.is_dir() else slide_path.parent
    headers = [header for header in map(_header, sorted(folder.iterdir())) if header is not None]
    if folder != slide_path:
        # The file may be any level; the others of its series lie beside it.
        named = _header(slide_path)
        series = None if named is None else named.get("SeriesInstanceUID")
        headers = [one for one in headers if one.get("SeriesInstanceUID") == series]
    for one in headers:
        shape = (one.get("TotalPixelMatrixColumns"), one.get("TotalPixelMatrixRows"))
        if "VOLUME" in one.get("ImageType", ()) and shape == (size.width, size.height):
            return one
    raise OutputUnavailableError(
        f"The output dicom_seg cannot be made of {slide_path.name}: no DICOM image of the whole slide "
        f"(VOLUME) of {size.width} x {size.height} px lies there. Leave the output out."
    )


def _header(path: Path) -> Any:
    """Return what a DICOM slide image says of itself; None for anything else."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
    except _BROKEN_FILE_ERRORS:
        return None
    return header if header.get("SOPClassUID") == VLWholeSlideMicroscopyImageStorage else None


def _blank(source: Any, downsample: int, origin: SegmentationOrigin) -> Any:
    """Return a segmentation of one empty frame; TILED_FULL says nothing of single frames."""
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=origin.model[:_TEXT_LENGTH],
        version=origin.version[:_TEXT_LENGTH],
        family=codes.DCM.ArtificialIntelligence,
    )
    classes = sorted(origin.palette.classes, key=lambda one: one.value)
    return Segmentation(
        source_images=[source],
        pixel_array=_NO_FRAMES,
        segmentation_type="LABELMAP",
        segment_descriptions=[_segment(one, algorithm) for one in classes],
        series_instance_uid=generate_uid(),
        series_number=100,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="darefine",
        manufacturer_model_name=origin.model[:_TEXT_LENGTH],
        software_versions=origin.software,
        device_serial_number="0",
        content_description="Research use only, not for diagnosis",
        transfer_syntax_uid=JPEGLSLossless,
        **_place(source, downsample),
        omit_empty_frames=False,
        dimension_organization_type="TILED_FULL",
        tile_pixel_array=True,
        tile_size=(TILE_PX, TILE_PX),
        palette_color_lut_transformation=_colours(origin.palette),
        icc_profile=_srgb_profile(),
    )


def _segment(one: LabelClass, algorithm: Any) -> Any:
    """Describe a class. Its name is the card's own word, so its code is of a private scheme."""
    name = one.name[:_TEXT_LENGTH]
    return SegmentDescription(
        segment_number=one.value,
        segment_label=name,
        segmented_property_category=codes.SCT.Tissue,
        segmented_property_type=highdicom.sr.CodedConcept(f"class-{one.value}", "99DAREFINE", name),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
    )


def _place(source: Any, downsample: int) -> dict[str, Any]:
    """Return spacing, orientation and position of the label map: pixels of `downsample` of the source's."""
    measures = source.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    rows_mm, columns_mm = (float(spacing) for spacing in measures.PixelSpacing)
    orientation = [float(part) for part in source.ImageOrientationSlide]
    corner = source.TotalPixelMatrixOriginSequence[0]
    start = np.array(
        [float(corner.get(f"{axis}OffsetInSlideCoordinateSystem", 0)) for axis in ("X", "Y", "Z")]
    )
    # Positions are of the middle of a pixel.
    shift = (downsample - 1) / 2
    along_row, along_column = np.array(orientation[:3]), np.array(orientation[3:])
    position = start + shift * (along_row * columns_mm + along_column * rows_mm)
    return {
        "pixel_measures": highdicom.PixelMeasuresSequence(
            pixel_spacing=(rows_mm * downsample, columns_mm * downsample),
            slice_thickness=float(measures.get("SliceThickness", rows_mm)),
        ),
        "plane_orientation": highdicom.PlaneOrientationSequence("SLIDE", orientation),
        "plane_positions": [
            highdicom.PlanePositionSequence("SLIDE", position.tolist(), pixel_matrix_position=(1, 1))
        ],
    }


def _colours(palette: Palette) -> Any:
    """Return the classes' colours as the file's palette."""
    table = palette.lookup()
    return highdicom.PaletteColorLUTTransformation(
        *(
            highdicom.PaletteColorLUT(0, np.ascontiguousarray(table[:, index]), color=colour)
            for index, colour in enumerate(("red", "green", "blue"))
        )
    )


def _srgb_profile() -> bytes:
    """Return the ICC profile of sRGB as DICOM takes it, always the same bytes.

    DICOM takes those of input devices only; of a display's the description of colours is the same. The time
    at which it was made is left out.
    """
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[12:16] = b"scnr"
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    return bytes(profile)


def _write_frames(labels: LabelTiff, file: IO[bytes], progress: Callable[[float], None]) -> str:
    """Write all frames, row by row, as DICOM encapsulates them; return the SHA-256 of the frames.

    Raises:
        OutputUnavailableError: they are too many for the offsets in front of them.
    """
    tiles = labels.size.tiles(TILE_PX)
    offsets = np.zeros(tiles.pixels, np.uint64)
    digest, length = hashlib.sha256(), 0
    file.write(_ITEM + struct.pack("<I", 4 * tiles.pixels) + bytes(4 * tiles.pixels))
    empty = _encoded(_NO_FRAMES[0])
    for number in range(tiles.pixels):
        row, column = divmod(number, tiles.width)
        values = labels.read(Rect(column * TILE_PX, row * TILE_PX, TILE_PX, TILE_PX))
        frame = _encoded(values) if values.any() else empty
        offsets[number] = length
        length += file.write(_ITEM + struct.pack("<I", len(frame)) + frame)
        digest.update(frame)
        progress(0.9 * (number + 1) / tiles.pixels)
    if length > _MAX_OFFSET:
        raise OutputUnavailableError("The output dicom_seg would have more than 4 GB. Leave it out.")
    file.seek(len(_ITEM) + 4)
    file.write(offsets.astype("<u4").tobytes())
    return digest.hexdigest()


def _encoded(values: Any) -> bytes:
    """Encode a frame, an even number of bytes."""
    frame: bytes = encode_frame(
        values,
        transfer_syntax_uid=JPEGLSLossless,
        bits_allocated=8,
        bits_stored=8,
        photometric_interpretation="PALETTE COLOR",
    )
    return frame + b"\0" * (len(frame) % 2)


def _identify(segmentation: Any, content: list[str]) -> None:
    """Give a segmentation the UIDs of its content."""
    uid = generate_uid(entropy_srcs=[*content, "instance"])
    segmentation.SOPInstanceUID = segmentation.file_meta.MediaStorageSOPInstanceUID = uid
    segmentation.SeriesInstanceUID = generate_uid(entropy_srcs=[*content, "series"])
    dimensions = generate_uid(entropy_srcs=[*content, "dimensions"])
    for one in segmentation.DimensionOrganizationSequence:
        one.DimensionOrganizationUID = dimensions
