"""A mapping: which part of each loop runs at which level, in which order, and what is kept."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from mlcnn.codesign.architecture import Architecture, Operand
from mlcnn.errors import InputError
from mlcnn.workload import LoopNest

__all__ = ["LevelLoops", "Mapping", "check_factors"]

Loops = tuple[tuple[str, int], ...]
_LEVEL = re.compile(r"[\w.-]*\[([WIO]*)\]((?: [A-Z]\d+X?)*)")
_LOOP = re.compile(r"([A-Z])(\d+)(X?)")
_LETTERS = {Operand.WEIGHT: "W", Operand.INPUT: "I", Operand.OUTPUT: "O"}


@dataclass(frozen=True, slots=True)
class LevelLoops:
    """The loops of one level.

    Attributes:
        temporal: (dimension, iterations), outermost first; each moves what the levels below hold.
        spatial: (dimension, instances) of the level below that run side by side.
        keep: operands that the level holds; the others pass by.
    """

    temporal: Loops
    spatial: Loops
    keep: tuple[Operand, ...]

    def factor(self, dim: str) -> int:
        """Iterations of a dimension here, temporal and spatial."""
        return math.prod(n for d, n in (*self.temporal, *self.spatial) if d == dim)

    def text(self) -> str:
        """As ``[WI] K2 C4X``: what is kept, then the loops, outermost first; X for spatial."""
        letters = "".join(_LETTERS[operand] for operand in Operand if operand in self.keep)
        loops = [f"{d}{n}" for d, n in self.temporal if n > 1]
        loops += [f"{d}{n}X" for d, n in self.spatial if n > 1]
        return " ".join((f"[{letters}]", *loops))


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping of a loop nest.

    Attributes:
        levels: as the levels of the architecture, outermost first. Inside a level, the temporal
            loops stand outside the spatial ones.
    """

    levels: tuple[LevelLoops, ...]

    def text(self, architecture: Architecture) -> str:
        """One line, levels from the outermost inwards."""
        return " - ".join(
            f"{level.name}{loops.text()}"
            for level, loops in zip(architecture.levels, self.levels, strict=True)
        )

    @classmethod
    def parse(cls, text: str) -> "Mapping":
        """A mapping from its text; the names of levels are not looked at.

        Raises:
            InputError: a level is no such text.

        Example:
            >>> mapping = Mapping.parse("dram[WIO] K2 P3 - [WI] K4X - [O] C2 P2")
            >>> mapping.factor("K"), mapping.factor("P"), mapping.levels[1].spatial
            (8, 6, (('K', 4),))
        """
        return cls(tuple(_parsed(part) for part in text.split(" - ")))

    def factor(self, dim: str) -> int:
        """Iterations of a dimension over all levels."""
        return math.prod(level.factor(dim) for level in self.levels)


def _parsed(text: str) -> LevelLoops:
    found = _LEVEL.fullmatch(text)
    if found is None:
        raise InputError(
            f"level {text!r} of a mapping: it must be what it keeps (W, I, O) and its loops, "
            "outermost first, X for spatial ones, as 'scratchpad[WI] K2 C4X'"
        )
    loops = [(dim, int(factor), mark) for dim, factor, mark in _LOOP.findall(found[2])]
    return LevelLoops(
        tuple((dim, factor) for dim, factor, mark in loops if not mark),
        tuple((dim, factor) for dim, factor, mark in loops if mark),
        tuple(operand for operand, letter in _LETTERS.items() if letter in found[1]),
    )


def check_factors(mapping: Mapping, nest: LoopNest, *, padded: bool = False) -> None:
    """Check that a mapping's factors make up the dimensions of a nest.

    Args:
        mapping: what is checked.
        nest: what it maps.
        padded: whether a product may exceed its dimension: the rest is work on padding.

    Raises:
        InputError: a factor is not positive, of no dimension of the nest, or stands twice among
            the temporal loops of a level; or a product is not that of its dimension.
    """
    for number, level in enumerate(mapping.levels):
        _check_loops(number, level, nest)
    for dim, size in zip(nest.dims, nest.sizes, strict=True):
        product = mapping.factor(dim)
        if product != size and not (padded and product > size):
            factors = " x ".join(str(level.factor(dim)) for level in mapping.levels)
            raise InputError(
                f"mapping of {nest.name}: the factors of {dim} are {factors} = {product}, and "
                f"{dim} has {size} iterations: {_off(product, size)}"
            )


def _off(product: int, size: int) -> str:
    if size % product:
        return f"{product} does not divide {size}, the remainder is {size % product}"
    return f"a factor of {size // product} is missing"


def _check_loops(number: int, level: LevelLoops, nest: LoopNest) -> None:
    for dim, factor in (*level.temporal, *level.spatial):
        if dim not in nest.dims or factor < 1:
            raise InputError(
                f"mapping of {nest.name}: loop {dim}{factor} of level {number}: a loop is one of "
                f"{' '.join(nest.dims)} and a positive number"
            )
    for loops in (level.temporal, level.spatial):
        if twice := _repeated(dim for dim, _ in loops):
            raise InputError(
                f"mapping of {nest.name}: {twice} stands twice in level {number}; give one factor"
            )


def _repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
