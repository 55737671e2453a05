"""Class schemes of published data sets, by name."""

from collections.abc import Mapping

from .class_scheme import ClassScheme, NamedClass

BACH = ClassScheme(
    classes=(
        NamedClass("normal", (0, 0, 0), ("*normal*",)),
        NamedClass("benign", (255, 0, 0), ("*benign*",)),
        NamedClass("in situ", (0, 255, 0), ("*situ*",)),
        NamedClass("invasive", (0, 0, 255), ("*invasive*",)),
    ),
    background="normal",
    unlabelled="background",
    glass="background",
    order="file",
    no_truth=(),
    holes=(),
)
"""ICIAR2018 part B, in the challenge's colours. A value is the challenge's number plus one: 0 means "not
analysed". The words of a region contain the one of its class."""

CAMELYON16 = ClassScheme(
    classes=(
        NamedClass("normal", (0, 170, 0), ("_2", "exclusion")),
        NamedClass("tumour", (230, 25, 75), ("tumor", "_0", "_1", "metastases")),
    ),
    background="normal",
    unlabelled="background",
)
"""CAMELYON16, and the annotated slides of CAMELYON17. Groups _0, _1 and Tumor are metastases; _2 and
Exclusion are what was cut out of them."""

PRESETS: Mapping[str, ClassScheme] = {"bach": BACH, "camelyon16": CAMELYON16}
