"""What can go wrong in this room.

ModelError
├── CardError            (also ValueError)
├── WeightsError
├── DeviceError
│   └── DeviceMemoryError
├── InputError           (also ValueError)
├── CohortError
├── ReportError
└── TrainingError
    ├── DivergedError
    ├── ResumeError
    └── TrainingStoppedError
"""


class ModelError(Exception):
    """Base of every error of the model room."""


class CardError(ModelError, ValueError):
    """A model card is missing, is not JSON, or says something that cannot be."""


class WeightsError(ModelError):
    """A weights file is missing, is not the file its card describes, or does not fit the network."""


class DeviceError(ModelError):
    """The device or precision asked for does not exist on this machine."""


class DeviceMemoryError(DeviceError):
    """The device's memory does not suffice for a context, or for one slice at a time."""


class InputError(ModelError, ValueError):
    """Arrays or sizes given to the network do not have the shape it documents."""


class CohortError(ModelError):
    """Slides and truths given for training or evaluation do not fit together or do not suffice."""


class ReportError(ModelError):
    """The results of an evaluation cannot be drawn."""


class TrainingError(ModelError):
    """A training cannot go on."""


class DivergedError(TrainingError):
    """The loss is no longer a finite number."""


class ResumeError(TrainingError):
    """The state left by an earlier run does not belong to this training."""


class TrainingStoppedError(TrainingError):
    """Who watches a training wants it to stop here, to go on later."""
