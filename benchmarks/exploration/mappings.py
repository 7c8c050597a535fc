"""All mappings of a layer on a machine, drawn at random and repaired until they fit.

A mapping is written as genes: for each prime factor of a dimension the place where it stands (a
level's loops, or what runs side by side below it), for each level an order and what it keeps. So
products are right whatever is drawn, crossed or mutated. Every mapping that fits can be drawn,
since what fits is left as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.mapping import primes_of
from mlcnn.codesign import Architecture, Batch, Operand
from mlcnn.codesign.compiled import FastScorer
from mlcnn.codesign.enumeration import places
from mlcnn.codesign.space import accesses
from mlcnn.errors import InfeasibleError
from mlcnn.workload import LoopNest

__all__ = ["Genes", "MappingSpace"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Genes:
    """Mappings, one a column.

    Attributes:
        places: of each prime: a level's number for its loops, and that plus the number of levels
            for instances below it; shape (primes, mappings).
        order: as ``Batch`` has it, shape (levels, dims, mappings).
        keep: shape (levels, operands, mappings).
    """

    places: Whole
    order: Whole
    keep: Mask

    def __len__(self) -> int:
        return self.places.shape[-1]

    def at(self, index: Whole) -> Self:
        """Some of them; copies."""
        return type(self)(*(getattr(self, name).take(index, -1) for name in self.__slots__))

    def joined(self, other: "Genes") -> "Genes":
        """Both."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__slots__)
        return Genes(*(np.concatenate(pair, -1) for pair in pairs))


class MappingSpace:
    """The mappings of a layer on a machine.

    Args:
        nest: the layer.
        machine: the machine; genes of one machine are genes of all others with its levels.
        generator: of what is drawn.
    """

    def __init__(
        self, nest: LoopNest, machine: Architecture, generator: np.random.Generator
    ) -> None:
        self.nest, self.machine, self.depth = nest, machine, len(machine.levels)
        self.generator = generator
        each = [(n, p) for n, size in enumerate(nest.sizes) for p in primes_of(size)]
        self.dim = np.array([number for number, _ in each], np.int64)
        self.prime = np.array([prime for _, prime in each], float)
        self.owner = np.eye(len(nest.dims))[:, self.dim]
        """Which dimension has which prime, shape (dims, primes)."""
        allowed = [np.flatnonzero(places(nest.dims[number], machine)) for number in self.dim]
        self._many = np.array([len(one) for one in allowed], float)[:, None]
        self._allowed = np.zeros((len(each), 2 * self.depth), np.int64)
        for row, one in zip(self._allowed, allowed, strict=True):
            row[: len(one)] = one
        levels = machine.levels
        self.looping = np.flatnonzero([n == 0 or bool(one.keeps) for n, one in enumerate(levels)])
        self.keepable = np.array([[o in one.keeps for o in Operand] for one in levels])
        self._fan_out = np.array([one.fan_out.size for one in levels], float)
        self._access = accesses(nest)
        self._score = FastScorer(nest, machine)
        self._relevant = np.array([one.relevant for one in self._access])[:, self.dim, None]

    def drawn(self, many: int) -> Genes:
        """Random mappings that fit.

        Raises:
            InfeasibleError: as ``repaired``.
        """
        order = self.generator.random((self.depth, len(self.nest.dims), many)).argsort(1)
        keep = self.keepable[:, :, None] & (self.generator.random((self.depth, 3, many)) < 0.5)
        keep[0] = True
        return self.repaired(Genes(self.places(many), order, keep))

    def places(self, many: int) -> Whole:
        """Places for all primes, each as likely as any other."""
        number = self.generator.random((len(self.prime), many)) * self._many
        return np.take_along_axis(self._allowed, number.astype(np.int64), 1)

    def factors(self, genes: Genes) -> Array:
        """Factors of shape (2 x levels, dims, mappings): those of loops, then side by side."""
        result = np.ones((2 * self.depth, len(self.nest.dims), len(genes)))
        places = genes.places, self.dim[:, None], np.arange(len(genes))
        np.multiply.at(result, places, self.prime[:, None])
        return result

    def words(self, factors: Array) -> Array:
        """Words of the tiles, shape (levels, operands, mappings); see ``codesign.windows``."""
        inside = factors[: self.depth] * factors[self.depth :]
        extent = np.cumprod(inside[::-1], 0)[::-1]
        words = np.ones((self.depth, len(Operand), factors.shape[2]))
        for row, access in enumerate(self._access):
            for dim in access.plain:
                words[:, row] *= extent[:, dim]
            for axis in access.windows:
                outputs, taps = extent[:, axis.outputs], extent[:, axis.taps]
                stride, dilation = axis.reduced
                twice = np.maximum(outputs - dilation, 0) * np.maximum(taps - stride, 0)
                words[:, row] *= outputs * taps - twice
        return words

    def misfits(self, genes: Genes) -> tuple[Array, Array, Mask]:
        """How far mappings are from fitting.

        Returns:
            For each level the instances below it over those that there are, shape (levels,
            mappings); the words that it keeps over those that it has; and whether an operand is
            part of what is too much, (levels, operands, mappings).
        """
        factors = self.factors(genes)
        words = self.words(factors) * genes.keep
        crowded = factors[self.depth :].prod(1) / self._fan_out[:, None]
        full, over = np.zeros_like(crowded), np.zeros(words.shape, bool)
        for number, level in enumerate(self.machine.levels):
            if isinstance(level.capacity, int):
                full[number] = words[number].sum(0) / level.capacity
                over[number] = genes.keep[number] & (full[number] > 1)
            elif level.capacity is not None:
                each = np.array([level.capacity.get(operand, 0) for operand in Operand], float)
                shares = words[number] / np.maximum(each, 0.5)[:, None]
                full[number], over[number] = shares.max(0), shares > 1
        return crowded, full, over

    def repaired(self, genes: Genes) -> Genes:
        """The same where they fit; else primes stand further outside, no more than are needed.

        Where a level is too small for single words, it keeps one operand less.

        Raises:
            InfeasibleError: the outermost level is too small.
        """
        genes = genes.at(np.arange(len(genes)))
        left = np.arange(len(genes))
        while len(left):
            crowded, full, over = self.misfits(genes.at(left))
            wrong = (crowded > 1).any(0) | (full > 1).any(0)
            left, crowded, full, over = (
                left[wrong], crowded[:, wrong], full[:, wrong], over[:, :, wrong],
            )  # fmt: skip
            if over[0].any():
                raise InfeasibleError(
                    f"{self.nest.name} on {self.machine.name}: the outermost level "
                    f"{self.machine.levels[0].name} cannot hold all operands"
                )
            for level in range(self.depth):
                if len(some := np.flatnonzero(crowded[level] > 1)):
                    spread = genes.places[:, left[some]] == self.depth + level
                    self._move(genes, left[some], spread, level, crowded[level, some])
                if len(some := np.flatnonzero(full[level] > 1)):
                    wanted = (full[level, some], over[level][:, some])
                    self._hold_less(genes, level, left[some], *wanted)
        return genes

    def _hold_less(
        self, genes: Genes, level: int, columns: Whole, ratio: Array, over: Mask,
    ) -> None:  # fmt: skip
        inside = genes.places[:, columns] % self.depth >= level
        movable = inside & (self._relevant & over[:, None]).any(0)
        able = movable.any(0)
        if not able.all():
            dropped = np.where(
                over[:, ~able], self.generator.random((3, (~able).sum())), -1
            ).argmax(0)
            genes.keep[level, dropped, columns[~able]] = False
        if able.any():
            wanted = columns[able], movable[:, able], level - 1, ratio[able]
            self._move(genes, *wanted)

    def _move(
        self, genes: Genes, columns: Whole, movable: Mask, level: int, ratio: Array,
    ) -> None:  # fmt: skip
        """Move primes to the loops of a level, or of others further outside.

        In random order, until their product is the ratio by which something is too large: it would
        take no fewer.
        """
        keys = np.where(movable, self.generator.random(movable.shape), 2.0)
        order = keys.argsort(0)
        primes = np.where(np.take_along_axis(movable, order, 0), self.prime[order], 1.0)
        before = np.cumprod(primes, 0) / primes
        number, column = np.nonzero((primes > 1) & (before < ratio))
        targets = self.looping[self.looping <= level]
        moved = order[number, column], columns[column]
        genes.places[moved] = self.generator.choice(targets, len(number))

    def batches(self, genes: Genes) -> Iterator[tuple[Whole, Batch]]:
        """Numbers of the mappings that keep the same, and these as a batch."""
        factors = self.factors(genes)
        bits = genes.keep.reshape(-1, len(genes))
        codes = (1 << np.arange(len(bits))) @ bits
        for code in np.unique(codes):
            index = np.flatnonzero(codes == code)
            some, order = factors.take(index, 2), genes.order.take(index, 2)
            mask = genes.keep[:, :, index[0]]
            yield index, Batch(self.nest.dims, some[: self.depth], some[self.depth :], order, mask)

    def scored(self, genes: Genes) -> tuple[Array, Array]:
        """Energy in pJ and latency in cycles of each."""
        energy, latency = np.empty(len(genes)), np.empty(len(genes))
        for index, batch in self.batches(genes):
            found = self._score(batch)
            assert found.fits.all()
            energy[index], latency[index] = found.energy_pj, found.latency_cycles
        return energy, latency
