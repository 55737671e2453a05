"""Errors of the `wsi` package.

WsiError
├── SlideUnreadableError     the file is no slide, is damaged, or is of a kind that is not read
├── SlideLimitError          the file claims more than a service should try to decode
├── MppUnknownError          nothing in the slide says how large a pixel is
├── MppOutOfRangeError       the pixel size is known but cannot be used
├── HaloError                the halo does not fit the grid
├── RegionsInvalidError      the regions of interest of a job cannot be used
├── LabelStoreError          a finished patch cannot be stored or read back
├── PlanFormatError          a stored plan or tissue mask is not what this version writes
├── PyramidError             a result file did not survive being read back
├── LabelTiffError           a label map file cannot be read, or is none
└── OutputUnavailableError   an output asked for cannot be made of this slide, or in this installation
"""


class WsiError(Exception):
    """Base class of the errors that this package raises on purpose."""


class SlideUnreadableError(WsiError):
    """The file is not a slide, is damaged, or is of a kind that is not read."""


class SlideLimitError(WsiError):
    """The file claims sizes that a service should not try to decode."""


class MppUnknownError(WsiError):
    """Nothing in the slide says how many micrometres a pixel covers."""

    def __init__(self, slide_name: str = "the slide") -> None:
        super().__init__(
            f"The pixel size of {slide_name} is unknown: neither vendor properties, TIFF resolution nor a "
            "usual objective power give it. Send mpp=<micrometres per pixel> (--mpp on the command line), "
            "e.g. 0.25 for 40x or 0.5 for 20x."
        )


class MppOutOfRangeError(WsiError, ValueError):
    """The pixel size is absurd, or too coarse for the model."""


class HaloError(WsiError, ValueError):
    """The halo is not a multiple of 16 label px within one tile."""


class RegionsInvalidError(WsiError, ValueError):
    """The regions of interest of a job are no sound polygons, too many, or not on its slide."""


class LabelStoreError(WsiError):
    """A finished patch cannot be stored or read back."""


class PlanFormatError(WsiError, ValueError):
    """A stored plan or tissue mask is not what this version writes."""


class PyramidError(WsiError):
    """A result file did not survive being read back."""


class LabelTiffError(WsiError, ValueError):
    """A label map file cannot be read, is damaged, or is no label map."""


class OutputUnavailableError(WsiError):
    """An output that was asked for cannot be made of this slide, or in this installation."""
