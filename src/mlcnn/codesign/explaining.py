"""One level's count of one operand, told term by term, beside what others would count."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlcnn.codesign.architecture import Architecture, Operand
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.conventions import CONVENTIONS, Convention
from mlcnn.codesign.counts import Counts, count
from mlcnn.codesign.moves import Terms, terms
from mlcnn.codesign.nested import Nested
from mlcnn.codesign.space import Access, accesses
from mlcnn.codesign.walker import walk
from mlcnn.errors import InputError, did_you_mean
from mlcnn.table import Shown, Tabular
from mlcnn.workload import LoopNest

__all__ = ["WALKED", "Amounts", "Explained", "explain", "place_of"]

WALKED = 20_000
"""Multiply-accumulates up to which a nest is walked."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """Words of one level and operand, over all its instances.

    Attributes:
        reads: sent to the levels below.
        fills: that came from above.
        updates: that came from below.
    """

    reads: float
    fills: float
    updates: float

    def to_json(self) -> dict[str, float]:
        """By direction."""
        return {"reads": self.reads, "fills": self.fills, "updates": self.updates}


@dataclass(frozen=True, slots=True, repr=False)
class Explained(Tabular):
    """A count told.

    Attributes:
        level: name of the level.
        operand: the operand.
        rule: name of the convention of ``lines``.
        lines: the formula with its numbers.
        conventions: what each named convention counts.
        walked: what a walk that touches every word counts; None where the nest is too large.
        macs: multiply-accumulates of the nest.
    """

    level: str
    operand: Operand
    rule: str
    lines: tuple[str, ...]
    conventions: dict[str, Amounts] = field(repr=False)
    walked: Amounts | None
    macs: int

    @property
    def not_walked(self) -> str:
        """Why there was no walk; empty where there was one."""
        if self.walked is not None:
            return ""
        return (
            f"not walked: the nest has {self.macs:,} multiply-accumulates, and one of up to "
            f"{WALKED:,} is"
        )

    def records(self) -> list[dict[str, Any]]:
        """A row for each convention, and for the walk where there was one."""
        counted = {**self.conventions, **({} if self.walked is None else {"walk": self.walked})}
        return [{"convention": name, **one.to_json()} for name, one in counted.items()]

    def shown(self) -> Shown:
        """What each convention counts, above the formula."""
        rows = tuple(
            (row["convention"], *(f"{row[way]:,.0f}" for way in ("reads", "fills", "updates")))
            for row in self.records()
        )
        columns = ("convention", "reads", "fills", "updates")
        notes = (*self.lines, *((self.not_walked,) if self.not_walked else ()))
        return Shown(f"{self.level}, {self.operand.value}, words", columns, rows, notes)

    def to_json(self) -> dict[str, object]:
        """All of it by name."""
        return {
            "level": self.level,
            "operand": self.operand.value,
            "convention": self.rule,
            "formula": list(self.lines),
            "conventions": {name: one.to_json() for name, one in self.conventions.items()},
            "walked": None if self.walked is None else self.walked.to_json(),
        }


def place_of(architecture: Architecture, text: str) -> tuple[int, Operand]:
    """The level's number and the operand of a text like ``scratchpad.input``.

    Args:
        architecture: the machine.
        text: level and operand.

    Raises:
        InputError: there is no such level or operand, or the level never keeps it.
    """
    names = [level.name for level in architecture.levels]
    level, dot, operand = text.rpartition(".")
    start = f"--explain {text}: "
    if not dot:
        raise InputError(f"{start}a level and an operand are required, as {names[0]}.weight")
    if level not in names:
        hint = did_you_mean(level, names)
        raise InputError(
            f"{start}{architecture.name} has no level {level!r}{hint}; levels: {', '.join(names)}"
        )
    if operand not in set(Operand):
        hint = did_you_mean(operand, [one.value for one in Operand])
        raise InputError(
            f"{start}there is no operand {operand!r}{hint}; operands: {', '.join(Operand)}"
        )
    return names.index(level), Operand(operand)


def explain(
    nest: LoopNest, architecture: Architecture, batch: Batch, rule: Convention, where: str
) -> Explained:
    """Tell how the words of one operand at one level are counted.

    Args:
        nest: the layer.
        architecture: the machine.
        batch: the mapping alone.
        rule: what is counted.
        where: level and operand, as ``scratchpad.input``.

    Raises:
        InputError: there is no such level or operand, or the mapping does not keep it there.
    """
    level, operand = place_of(architecture, where)
    index = tuple(Operand).index(operand)
    if not batch.keep[level, index]:
        keeping = [
            one.name
            for one, kept in zip(architecture.levels, batch.keep[:, index], strict=True)
            if kept
        ]
        raise InputError(
            f"--explain {where}: the mapping keeps no {operand} there, so nothing is counted; it "
            f"keeps it at {', '.join(keeping)}"
        )
    told = _Told(nest, architecture, batch, rule, index)
    conventions = {
        name: _amounts(count(nest, batch, one), level, index) for name, one in CONVENTIONS.items()
    }
    walked = None
    if nest.macs <= WALKED:
        found = walk(nest, batch.mapping(0)).get((level, operand))
        walked = (
            Amounts(0, 0, 0) if found is None else Amounts(found.reads, found.fills, found.updates)
        )
    return Explained(
        architecture.levels[level].name, operand, rule.name, tuple(told.lines(level)),
        conventions, walked, nest.macs,
    )  # fmt: skip


def _amounts(counts: Counts, level: int, operand: int) -> Amounts:
    instances = counts.instances[level, 0]
    directions = (counts.reads, counts.fills, counts.updates)
    return Amounts(*(float(array[level, operand, 0] * instances) for array in directions))


class _Told:
    """Sentences on one operand of one mapping."""

    def __init__(
        self, nest: LoopNest, architecture: Architecture, batch: Batch, rule: Convention, index: int
    ) -> None:  # fmt: skip
        self.nest, self.architecture, self.rule = nest, architecture, rule
        self.nested = Nested.of(batch)
        self.batch, self.index = batch, index
        self.access: Access = accesses(nest)[index]
        self.names = [*(level.name for level in architecture.levels), "the arithmetic"]
        self.keeping = [int(one) for one in np.flatnonzero(batch.keep[:, index])]

    def lines(self, level: int) -> Iterator[str]:
        """Of one level that keeps the operand."""
        place = self.keeping.index(level)
        if place:
            yield from self._fills(self.keeping[place - 1], level)
        below = self.keeping[place + 1] if place + 1 < len(self.keeping) else self.nested.depth
        yield from self._sent(level, below)

    def _fills(self, above: int, level: int) -> Iterator[str]:
        each = terms(self.access, self.nested, level, level, self.rule)
        yield f"fills: what the tile of one {self.names[level]} takes in from {self.names[above]}"
        yield f"  tile = {self._tile(level)} = {_words(each.tile)}"
        yield from self._loops(each)
        total, first = float(each.words[0]), self._seen(level)
        if self._is_output and not self.rule.first_fill:
            yield f"  - {first:,.0f}: first visits, which {self.rule.name} does not count"
            total -= first
        yield f"  = {total:,.0f} words"
        yield self._instances(level, total)

    def _sent(self, level: int, below: int) -> Iterator[str]:
        both = terms(self.access, self.nested, level, below, self.rule)
        name = self.names[below]
        direction, verb = ("updates", "sends up") if self._is_output else ("reads", "is sent")
        yield (
            f"{direction}: what {name} {verb}, all instances below one {self.names[level]} together"
        )
        yield f"  tiles at one step = {self._tile(below, level)} = {_words(both.tile)}"
        if below == self.nested.depth:
            yield "  the arithmetic holds nothing: every loop outside multiplies, nothing is saved"
        yield from self._loops(both)
        total = float(both.words[0])
        yield f"  = {total:,.0f} words"
        yield self._instances(level, total)
        if self._is_output:
            first = self._seen(level)
            yield "reads: partial sums that come back: the updates without first visits"
            yield f"  = {total:,.0f} - {first:,.0f} = {total - first:,.0f} words"
            yield self._instances(level, total - first)

    @property
    def _is_output(self) -> bool:
        return tuple(Operand)[self.index] is Operand.OUTPUT

    def _seen(self, level: int) -> float:
        """Outputs that one instance of a level ever has."""
        access, nested = self.access, self.nested
        return float((nested.words(access, 0) / nested.copies(access, 0, level))[0])

    def _instances(self, level: int, words: float) -> str:
        spatial = self.batch.spatial[:level, :, 0]
        instances = int(spatial.prod())
        return f"  x {instances:,} that work = {words * instances:,.0f} words"

    def _tile(self, level: int, above: int | None = None) -> str:
        """Extents of a tile along its axes, and the instances that have different words."""
        inside = self.nested.inside[level][:, 0]
        dims = self.nest.dims
        parts = [f"{dims[dim]}{inside[dim]:.0f}" for dim in self.access.plain if inside[dim] > 1]
        for axis in self.access.windows:
            outputs, taps = (int(inside[dim]) for dim in (axis.outputs, axis.taps))
            if outputs * taps > 1:
                how = "box" if self.rule.box else "words touched"
                parts.append(
                    f"[{dims[axis.outputs]}{outputs} by {dims[axis.taps]}{taps}, stride "
                    f"{axis.stride}, dilation {axis.dilation}, {how}]"
                )
        if above is not None:
            parts += self._side_by_side(above, level)
        return " x ".join(parts) or "1"

    def _side_by_side(self, above: int, level: int) -> Iterator[str]:
        relevant = self.access.relevant
        for outer in range(above, level):
            for dim, factor in enumerate(self.batch.spatial[outer, :, 0]):
                if factor > 1:
                    name = f"{self.nest.dims[dim]}{factor:.0f} side by side"
                    direct = self.access.direct[dim]
                    if direct:
                        yield name
                    elif relevant[dim]:
                        yield f"({name}, overlaps once)"
                    else:
                        yield f"1 ({name} share words)"

    def _loops(self, found: Terms) -> Iterator[str]:
        for number, level in enumerate(found.levels):
            factor = float(found.factors[number, 0])
            if factor == 1:
                continue
            loop = self._loop(found, number, level)
            if found.multiplies[number, 0]:
                yield f"  x {factor:.0f}: {loop}"
            else:
                yield f"  x 1: {loop} moves nothing, nor does a loop inside it, so the tile stays"
        for one in found.saved:
            times, stays = float(one.times[0]), float(one.stays[0])
            if stays:
                loop = self._loop(found, one.loop, found.levels[one.loop])
                yield (
                    f"  - {times * stays:,.0f}: at {times:,.0f} steps of {loop} "
                    f"{stays:,.0f} words stay"
                )

    def _loop(self, found: Terms, number: int, level: int) -> str:
        dim, factor = self.nest.dims[found.dims[number, 0]], found.factors[number, 0]
        return f"{dim}{factor:.0f} of {self.names[level]}"


def _words(tile: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return f"{float(tile[0]):,.0f} words"
