"""A DICOM slide: pixels of known colours as VL Whole Slide Microscopy, TILED_FULL."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, VLWholeSlideMicroscopyImageStorage, generate_uid

FRAME_PX = 256


def write_dicom_slide(folder: Path, pixels: NDArray[np.uint8], mpp: float, *, frames: bool = True) -> Path:
    """Write RGB pixels as a folder of one level; its rows run to the left on the glass, as scanners do.

    Without `frames` it is the header of such a slide alone.
    """
    folder.mkdir()
    height, width = pixels.shape[:2]
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["slide", str(width)])
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    describe_patient_and_specimen(data)
    data.DimensionOrganizationType = "TILED_FULL"
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.Rows = data.Columns = FRAME_PX
    data.TotalPixelMatrixRows, data.TotalPixelMatrixColumns = height, width
    data.TotalPixelMatrixFocalPlanes = data.NumberOfOpticalPaths = 1
    data.ImagedVolumeWidth, data.ImagedVolumeHeight = width * mpp / 1000, height * mpp / 1000
    data.ImageOrientationSlide = [-1, 0, 0, 0, 1, 0]
    corner = Dataset()
    corner.XOffsetInSlideCoordinateSystem, corner.YOffsetInSlideCoordinateSystem = "20.0", "10.0"
    data.TotalPixelMatrixOriginSequence = [corner]
    data.SharedFunctionalGroupsSequence = [functional_groups(mpp)]
    path = Dataset()
    path.OpticalPathIdentifier = "0"
    data.OpticalPathSequence = [path]
    stored = tiles(pixels) if frames else tiles(pixels[:1, :1])
    data.NumberOfFrames = len(stored)
    data.PixelData = stored.tobytes()
    data.save_as(folder / "level-0.dcm", enforce_file_format=True)
    return folder


def add_dicom_pictures(folder: Path, pixels: NDArray[np.uint8], patient: str) -> None:
    """Add label and overview (macro) image, of FRAME_PX a side, to a slide made by `write_dicom_slide`."""
    data = dcmread(folder / "level-0.dcm")
    data.TotalPixelMatrixRows = data.TotalPixelMatrixColumns = FRAME_PX
    data.NumberOfFrames, data.PixelData, data.PatientName = 1, pixels.tobytes(), patient
    for kind in ("LABEL", "OVERVIEW"):
        data.ImageType = ["ORIGINAL", "PRIMARY", kind, "NONE"]
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[kind])
        data.save_as(folder / f"{kind.lower()}.dcm", enforce_file_format=True)


def describe_patient_and_specimen(data: Dataset) -> None:
    """Write what a slide says of everything but its pixels."""
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(data, name, generate_uid(entropy_srcs=[name]))
    data.Modality, data.StudyDate, data.StudyTime, data.AccessionNumber = "SM", "", "", ""
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = "", "", "", ""
    data.ReferringPhysicianName, data.StudyID, data.PositionReferenceIndicator = "", "", "SLIDE_CORNER"
    data.ContainerIdentifier, data.IssuerOfTheContainerIdentifierSequence = "c", []
    data.ContainerTypeCodeSequence, data.SpecimenDescriptionSequence = [], [specimen()]


def tiles(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the frames, row by row; white beyond the edge."""
    rows, columns = (-(-side // FRAME_PX) for side in pixels.shape[:2])
    padded = np.full((rows * FRAME_PX, columns * FRAME_PX, 3), 255, np.uint8)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    cut = padded.reshape(rows, FRAME_PX, columns, FRAME_PX, 3).swapaxes(1, 2)
    return cut.reshape(rows * columns, FRAME_PX, FRAME_PX, 3)


def functional_groups(mpp: float) -> Dataset:
    """Return what all frames share: pixel size and kind."""
    measures, kind, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [mpp / 1000, mpp / 1000], "0.001"
    kind.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    shared.PixelMeasuresSequence, shared.WholeSlideMicroscopyImageFrameTypeSequence = [measures], [kind]
    return shared


def specimen() -> Dataset:
    """Return a specimen without history."""
    one = Dataset()
    one.SpecimenIdentifier, one.SpecimenUID = "s", generate_uid(entropy_srcs=["specimen"])
    one.IssuerOfTheSpecimenIdentifierSequence, one.SpecimenPreparationSequence = [], []
    return one
