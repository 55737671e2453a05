"""Read the classes of a data set from JSON: names, colours, aliases, background, what has no truth.

A scheme also says which word of an annotation file means which class, and which shape covers which.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from wsi.palette import LabelClass

from ..card import parse_strictly
from ..errors import CardError, ClassesError

Extent = Literal["background", "ignore"]
"""What an area that no shape covers is: of the class background, or without truth."""

Order = Literal["area", "classes", "file"]
"""Which shape covers which: the smaller the larger, a later class an earlier one, or a later one in the file
an earlier one."""

COLOURS = (
    *((230, 25, 75), (60, 180, 75), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240)),
    *((240, 50, 230), (210, 245, 60), (250, 190, 212), (0, 128, 128), (170, 110, 40), (128, 128, 0)),
)
"""Colours of classes that state none, in turn."""

NO_TRUTH, HOLE, LEFT_OUT = "no truth", "hole", "left out"
"""What a word may mean that is no class; see the members of ClassScheme."""

UNLABELLED = 255
"""Value of pixels of which annotations say nothing, until the scheme's extents are applied."""

Byte = Annotated[int, Field(ge=0, le=255)]


@dataclass(frozen=True, slots=True)
class NamedClass:
    """One class of a scheme."""

    name: str
    colour: str | tuple[int, ...] | None = None
    """"#rrggbb", or red, green, blue of 0..255; None: one of COLOURS."""
    aliases: tuple[str, ...] = ()
    """Other words for it; upper and lower case are alike, `*` stands for any text."""
    codes: tuple[Byte, ...] | None = None
    """Its values in label images; None: its place in the list, from 1."""


@dataclass(frozen=True, slots=True)
class ClassScheme:
    """Classes in the order of their values 1..K, and how annotations are read and drawn.

    Raises:
        ClassesError: The members do not go together.
    """

    classes: tuple[NamedClass, ...]
    background: str | None = None
    """Name of the class of what is neither annotated nor without truth."""
    unlabelled: Extent = "ignore"
    """Tissue that no shape covers."""
    glass: Extent = "ignore"
    """Glass that no shape covers, where `unlabelled` is "background"."""
    order: Order = "area"
    """In "area" and "classes" outlines that cross themselves are mended, and holes are cut out of the
    smallest shape around them. In "file" outlines are drawn as they are, and holes with the background."""
    no_truth: tuple[str, ...] = ("ignore*",)
    """Words, as aliases, of shapes whose area has no truth."""
    holes: tuple[str, ...] = ("hole", "holes")
    """Words of shapes that are holes."""
    left_out: tuple[str, ...] = ()
    """Words of shapes that are not drawn."""
    unclassified: Literal["refuse", "leave out"] = "refuse"
    """What happens to shapes without a class."""

    def __post_init__(self) -> None:
        _check(self)

    @classmethod
    def load(cls, path: Path) -> "ClassScheme":
        """Read and check a JSON file.

        Raises:
            ClassesError: It is no such file; the message names the member that is wrong.
        """
        try:
            data = json.loads(path.read_bytes())
        except OSError as error:
            raise ClassesError(f"cannot read the classes {path}: {error.strerror}.") from error
        except ValueError as error:
            raise ClassesError(
                f'{path} is not JSON ({error}). It begins {{"classes": [{{"name": ...}}, ...]'
            ) from error
        try:
            return parse_strictly(_SCHEME, data, "the file")
        except CardError as error:
            told = str(error).replace("the file.", "")
            raise ClassesError(f"{path.name}: {told}") from error

    @property
    def labels(self) -> tuple[LabelClass, ...]:
        """Classes with their values and colours."""
        return tuple(
            LabelClass(value, entry.name, _colour(entry, COLOURS[(value - 1) % len(COLOURS)]))
            for value, entry in enumerate(self.classes, start=1)
        )

    @property
    def background_value(self) -> int | None:
        """Value of the background; None without one."""
        names = [entry.name for entry in self.classes]
        return None if self.background is None else names.index(self.background) + 1

    @property
    def codes(self) -> dict[int, int]:
        """Values 1..K by the codes of label images."""
        return {
            code: value
            for value, entry in enumerate(self.classes, start=1)
            for code in ((value,) if entry.codes is None else entry.codes)
        }

    def meanings(self, word: str) -> list[int | str]:
        """Return what a word may mean: class values, NO_TRUTH, HOLE, LEFT_OUT; empty if it is unknown.

        A name or alias that is the word itself counts before those with a `*` that match it.
        """
        said = _folded(word)
        named: list[tuple[int | str, Sequence[str]]] = [
            *((v, (entry.name, *entry.aliases)) for v, entry in enumerate(self.classes, start=1)),
            (NO_TRUTH, self.no_truth),
            (HOLE, self.holes),
            (LEFT_OUT, self.left_out),
        ]
        exact = [meaning for meaning, words in named if said in map(_folded, words)]
        return exact or [
            meaning for meaning, words in named if any(fnmatchcase(said, _pattern(one)) for one in words)
        ]

    def vocabulary(self) -> str:
        """Return the names of the classes with their aliases, for messages."""
        return ", ".join(
            entry.name + (f" ({', '.join(entry.aliases)})" if entry.aliases else "") for entry in self.classes
        )


_SCHEME = TypeAdapter(ClassScheme)


def _check(scheme: ClassScheme) -> None:
    """Check what the types do not.

    Raises:
        ClassesError: A member cannot be; the message names it.
    """
    names = [entry.name for entry in scheme.classes]
    if not 2 <= len(names) < UNLABELLED:
        raise ClassesError(f"classes has {len(names)} entries; name 2 to {UNLABELLED - 1}")
    for number, entry in enumerate(scheme.classes):
        if not entry.name.strip() or any(ord(letter) < 32 for letter in entry.name):
            raise ClassesError(f"classes[{number}].name is empty or has control characters")
        _colour(entry, (0, 0, 0))
    words = [(_folded(word), name) for name, own in _owned(scheme) for word in own]
    for word, _ in words:
        others = [other for same, other in words if same == word]
        if len(others) > 1:
            raise ClassesError(f'"{word}" is a word of {" and of ".join(others)}; leave it with one of them')
    if scheme.background is not None and scheme.background not in names:
        raise ClassesError(f'background "{scheme.background}" is none of the classes {", ".join(names)}')
    if scheme.background is None and "background" in {scheme.unlabelled, scheme.glass}:
        raise ClassesError('unlabelled or glass is "background", but no class is named as background; add it')
    codes = [code for entry in scheme.classes for code in entry.codes or ()]
    stated = [entry.codes is not None for entry in scheme.classes]
    if any(stated) and not all(stated):
        raise ClassesError(f"{names[stated.index(False)]} has no codes; give codes to all classes or to none")
    if len(set(codes)) < len(codes):
        raise ClassesError("codes has a number twice; each belongs to one class")


def _owned(scheme: ClassScheme) -> list[tuple[str, tuple[str, ...]]]:
    """Return the words of each class and of each list, by name."""
    return [
        *((f"classes.{entry.name}", (entry.name, *entry.aliases)) for entry in scheme.classes),
        ("no_truth", scheme.no_truth),
        ("holes", scheme.holes),
        ("left_out", scheme.left_out),
    ]


def _colour(entry: NamedClass, default: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return red, green, blue of a class.

    Raises:
        ClassesError: The text is no colour.
    """
    if entry.colour is None:
        return default
    try:
        red, green, blue = (
            bytes.fromhex(entry.colour.removeprefix("#"))
            if isinstance(entry.colour, str)
            else bytes(entry.colour)
        )
    except ValueError as error:
        raise ClassesError(
            f'colour of {entry.name} is {entry.colour}; write "#rrggbb" or three numbers 0..255'
        ) from error
    return red, green, blue


def _folded(word: str) -> str:
    return " ".join(word.casefold().split())


def _pattern(word: str) -> str:
    """Return an alias as a pattern in which only `*` is special."""
    return _folded(word).replace("[", "[[]").replace("?", "[?]")
