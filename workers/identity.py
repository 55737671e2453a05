"""State everything that the labels of a job depend on.

Two runs of equal identity give the same bytes, wherever they run. Patches lie in a folder named by it, so
labels of two kinds of host never meet in one map.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError, with_config

from .errors import RecordInvalidError
from .jobs import ADDED, STRICT


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class LabelIdentity:
    """What the labels of a job depend on. A member that is added must be one that changes labels.

    The first three are of the job, the others of the host that computes. Members that only some kinds of host
    have are left out while they are empty, so that adding one starts no other job anew.
    """

    slide: dict[str, Any]
    """Facts of the slide and what identifies its bytes (`workers.engine.provenance.slide_identity`)."""
    model: dict[str, Any]
    """Name, sha256 of the weights, and all of the card that labels depend on."""
    parameters: dict[str, Any]
    """As of `JobParameters.of_labels`."""
    device: str
    """Kind of device: `cpu` with its instruction set, `cuda` with the name of the card."""
    dtype: str
    """Number format of the network."""
    backend: str
    """What computes, with its version: torch or an ONNX runtime."""
    software: str
    """Name and version of this software."""
    compiled: Annotated[bool, ADDED] = False
    batch_size: Annotated[int | str | None, ADDED] = None
    """Slices a pass, or `auto`, where labels depend on it; None where they do not."""

    @property
    def digest(self) -> str:
        """Name of the folder of patches that were made this way: 16 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def is_of_job(self, other: "LabelIdentity") -> bool:
        """Return whether both are of the same slide, model and parameters, on whatever host."""
        return (self.slide, self.model, self.parameters) == (other.slide, other.model, other.parameters)

    def to_json(self) -> str:
        """Return JSON text; equal identities give equal text."""
        return json.dumps(self.members(), sort_keys=True)

    def members(self) -> dict[str, Any]:
        """Return the identity as JSON values, as it reads back: JSON has no tuples."""
        members: dict[str, Any] = json.loads(json.dumps(_IDENTITY.dump_python(self, mode="json")))
        return members

    @classmethod
    def from_json(cls, encoded: str) -> "LabelIdentity":
        """Read an identity from JSON text.

        Raises:
            RecordInvalidError: it is not of this form.
        """
        try:
            return _IDENTITY.validate_json(encoded)
        except ValidationError as error:
            raise RecordInvalidError.of("What makes a job's labels", error) from error


_IDENTITY = TypeAdapter(LabelIdentity)
