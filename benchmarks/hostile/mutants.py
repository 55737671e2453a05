"""Make damaged and malicious files from good ones, by a seed."""

import io
import random
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

HEAD_BYTES = 4096
EXTREMES = (0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1)
"""Values that sizes, counts and offsets of a header take in hostile files."""

IFD_ENTRY_BYTES = 12


@dataclass(frozen=True, slots=True)
class Mutant:
    """A file to send, and how it was made."""

    kind: str
    name: str
    content: bytes


Mutation = Callable[[random.Random, bytes], bytes]


def mutants(bases: Mapping[str, bytes], count: int, seed: int) -> Iterator[Mutant]:
    """Yield `count` files made from good slides (name to bytes), the same for the same seed."""
    rng = random.Random(seed)
    names = sorted(bases)
    for index in range(count):
        name = rng.choice(names)
        if rng.random() < 0.2:
            kind = rng.choice(sorted(ARCHIVES))
            yield Mutant(kind, f"{index}.zip", ARCHIVES[kind](rng, name, bases[name]))
        else:
            kind = rng.choice(sorted(MUTATIONS))
            yield Mutant(kind, f"{index}-{name}", MUTATIONS[kind](rng, bases[name]))


def _truncated(rng: random.Random, good: bytes) -> bytes:
    return good[: rng.randrange(len(good))]


def _flipped_head(rng: random.Random, good: bytes) -> bytes:
    return _flipped(rng, good, range(min(HEAD_BYTES, len(good))))


def _flipped_tail(rng: random.Random, good: bytes) -> bytes:
    return _flipped(rng, good, range(max(0, len(good) - HEAD_BYTES), len(good)))


def _flipped(rng: random.Random, good: bytes, where: range) -> bytes:
    bad = bytearray(good)
    for place in rng.choices(where, k=rng.randint(1, 16)):
        bad[place] = rng.randrange(256)
    return bytes(bad)


def _noise_inside(rng: random.Random, good: bytes) -> bytes:
    start, length = rng.randrange(len(good)), rng.choice((16, 1024, 65_536))
    noise = rng.randbytes(min(length, len(good) - start))
    return good[:start] + noise + good[start + length :]


def _zeros_inside(rng: random.Random, good: bytes) -> bytes:
    start, length = rng.randrange(len(good)), rng.choice((64, 4096, 262_144))
    return good[:start] + bytes(min(length, len(good) - start)) + good[start + length :]


def _wild_tag(rng: random.Random, good: bytes) -> bytes:
    """Give a tag of a classic TIFF's first directory a wild type, count or value; else flip its head."""
    if good[:4] not in {b"II*\0", b"MM\0*"}:
        return _flipped_head(rng, good)
    order = "<" if good[:1] == b"I" else ">"
    (start,) = struct.unpack_from(f"{order}I", good, 4)
    (entries,) = struct.unpack_from(f"{order}H", good, start)
    bad = bytearray(good)
    for _ in range(rng.randint(1, 3)):
        entry = start + 2 + IFD_ENTRY_BYTES * rng.randrange(entries)
        field, layout = rng.choice(((2, "H"), (4, "I"), (8, "I")))
        value = rng.choice((*EXTREMES, rng.randrange(2**16))) % 256 ** struct.calcsize(layout)
        struct.pack_into(f"{order}{layout}", bad, entry + field, value)
    return bytes(bad)


MUTATIONS: Mapping[str, Mutation] = {
    "cut short": _truncated,
    "bytes of the head": _flipped_head,
    "bytes of the tail": _flipped_tail,
    "noise inside": _noise_inside,
    "zeros inside": _zeros_inside,
    "wild TIFF tag": _wild_tag,
}


def _zip(*members: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    """Return a ZIP archive of members; its dates are those of ZipInfo, so that it is the same each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            info = zipfile.ZipInfo(member) if isinstance(member, str) else member
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _leads_out(rng: random.Random, name: str, good: bytes) -> bytes:
    way = rng.choice(("../../{}", "/tmp/{}", "a/../../../{}", "C:\\{}", "..\\{}"))
    return _zip((way.format(name), good))


def _link(rng: random.Random, name: str, good: bytes) -> bytes:
    link = zipfile.ZipInfo(name)
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    return _zip((link, rng.choice((b"/etc/passwd", b"../../queue/lock", name.encode()))), ("other.tif", good))


def _bomb(rng: random.Random, name: str, good: bytes) -> bytes:  # noqa: ARG001 - as the others
    return _zip((name, bytes(rng.choice((50, 200)) << 20)))


def _many(rng: random.Random, name: str, good: bytes) -> bytes:
    return _zip(*((f"{index}/{name}", good[:64]) for index in range(rng.choice((300, 3000)))))


def _damaged(rng: random.Random, name: str, good: bytes) -> bytes:
    whole = _zip((name, good))
    return rng.choice((_truncated, _flipped_head, _flipped_tail, _noise_inside))(rng, whole)


def _nested(rng: random.Random, name: str, good: bytes) -> bytes:
    inner = _zip((name, good))
    for _ in range(rng.randint(1, 4)):
        inner = _zip(("inner.zip", inner))
    return inner


ARCHIVES: Mapping[str, Callable[[random.Random, str, bytes], bytes]] = {
    "archive leads out": _leads_out,
    "archive with a link": _link,
    "archive bomb": _bomb,
    "archive of many": _many,
    "damaged archive": _damaged,
    "archive in an archive": _nested,
}
