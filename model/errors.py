"""Errors of the model package.

ModelError
├── CardError            (also ValueError)
├── WeightsError
├── DeviceError
│   └── DeviceMemoryError
├── InputError           (also ValueError)
├── CohortError
│   └── ClassesError     (also ValueError)
├── ReportError
└── TrainingError
    ├── DivergedError
    ├── ResumeError
    └── TrainingStoppedError
"""


class ModelError(Exception):
    """Base class of every error of the model package."""


class CardError(ModelError, ValueError):
    """A model card is missing, is not JSON, or holds a value that is not allowed."""


class WeightsError(ModelError):
    """A weights file is missing, is not the file its card describes, or does not fit the network."""


class DeviceError(ModelError):
    """The device or precision asked for does not exist on this machine."""


class DeviceMemoryError(DeviceError):
    """The device has too little memory for a context, or for one slice at a time."""


class InputError(ModelError, ValueError):
    """Arrays or sizes given to the network do not have the shape it documents."""


class CohortError(ModelError):
    """Slides and truths for training or evaluation do not fit together, or are too few."""


class ClassesError(CohortError, ValueError):
    """A file of classes is missing, is no JSON, or holds a value that is not allowed."""


class ReportError(ModelError):
    """A figure or a training log needs a package that is not installed."""


class TrainingError(ModelError):
    """Base class of errors that end a training."""


class DivergedError(TrainingError):
    """The training loss is no longer a finite number."""


class ResumeError(TrainingError):
    """The checkpoint of an earlier run does not belong to this training."""


class TrainingStoppedError(TrainingError):
    """The training was asked to stop and to be resumed later; its state is saved."""
