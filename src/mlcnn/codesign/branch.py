"""Branch and bound over the mappings of a nest on a machine whose levels keep what a mask says.

From the outermost level inwards, a node is what the loops and instances of some levels are; what
their levels exchange is scored exactly, and what is inside is bounded by ``Relaxation``. Of the
tiles that the outermost level on the chip may hold, the best come first; below each, everything
that is not bounded away is looked at before the next.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.compiled import score_fast
from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.enumeration import Goal
from mlcnn.codesign.orders import orders
from mlcnn.codesign.relaxation import Relaxation

__all__ = ["Branch", "Incumbent"]

_NEXT = 64
"""Nodes that are expanded together."""
_PART = 1 << 15
"""Mappings that are scored together."""
CLOSE = 1e-12

Array = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(slots=True)
class Incumbent:
    """The best mapping so far.

    Attributes:
        value: of the objective.
        batch: it alone.
        scored: mappings and parts of mappings that were scored.
        over: whether to stop.
    """

    over: Callable[[], bool]
    value: float = np.inf
    batch: Batch | None = None
    scored: int = 0

    def offer(self, values: Array, batch: Batch) -> None:
        """Take the best of some if it is better."""
        index = int(values.argmin())
        if values[index] < self.value:
            self.value, self.batch = float(values[index]), batch.at(np.array([index]))


@dataclass(frozen=True, slots=True)
class Nodes:
    """Mappings whose outer levels are chosen; arrays with a row for each.

    Attributes:
        temporal: iterations, int64 of shape (many, levels, dims).
        spatial: instances.
        order: numbers of the dimensions.
        tile: what the next level holds.
        energy: of what the outer levels exchange.
        cycles: that this takes at least.
        units: instances side by side so far.
        value: bound of the objective.
    """

    temporal: Whole
    spatial: Whole
    order: Whole
    tile: Whole
    energy: Array
    cycles: Array
    units: Whole
    value: Array

    def at(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Self:
        """Some of them."""
        return type(self)(*(getattr(self, field.name)[index] for field in fields(self)))

    @classmethod
    def joined(cls, parts: list["Nodes"]) -> "Nodes":
        """All of several."""
        if len(parts) == 1:
            return parts[0]
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def __len__(self) -> int:
        return len(self.tile)


@dataclass(frozen=True, slots=True)
class _Choices:
    """What the loops and instances of a block may be for one outer tile.

    Attributes:
        loops: tile inside the loops, shape (many,).
        spread: factor of each dimension at each level of the block, (many, levels of it, dims).
        tile: tile inside, that the next level with loops holds.
        energy: bound of what is inside the outer tile.
        busy: bound of the units that it keeps busy.
    """

    loops: Whole
    spread: Whole
    tile: Whole
    energy: Array
    busy: Array

    def at(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "_Choices":
        return _Choices(*(getattr(self, field.name)[index] for field in fields(self)))


class Branch:
    """The open nodes of one mask.

    Attributes:
        pools: open nodes by block, in parts.
    """

    def __init__(
        self,
        relaxation: Relaxation,
        architecture: Architecture,
        rule: Convention,
        goal: Goal,
        best: Incumbent,
    ) -> None:
        self.relaxation, self.architecture, self.rule = relaxation, architecture, rule
        self.goal, self.best = goal, best
        self.nest = relaxation.lattice.nest
        self.macs = float(self.nest.macs)
        depth, dims = len(architecture.levels), len(self.nest.dims)
        ones = np.ones((1, depth, dims), np.int64)
        order = np.tile(np.arange(dims), (1, depth, 1))
        zero = np.zeros(1)
        last = np.array([relaxation.lattice.cells - 1])
        root = Nodes(ones, ones, order, last, zero, zero, np.ones(1, np.int64), zero)
        to_go = relaxation.to_go[0][last]
        self.root = self._bounded(root, to_go, relaxation.parallel[0][last])
        self.pools: list[list[Nodes]] = [[] for _ in relaxation.blocks]
        self.limit = np.inf

    def below(self, limit: float) -> None:
        """Look at every mapping that is better than the best so far and a limit.

        Args:
            limit: value of the objective.
        """
        self.limit = limit
        self.pools = [[] for _ in self.pools]
        if self.root.value[0] < self.open_below:
            self.pools[0].append(self.root)
        while not self.best.over():
            open_ = [number for number, pool in enumerate(self.pools) if pool]
            if not open_:
                return
            self._expand(open_[-1])

    @property
    def open_below(self) -> float:
        """What is bounded by this or more is not looked at."""
        return min(self.limit, self.best.value * (1 - CLOSE))

    def _expand(self, block: int) -> None:
        """Make the children of the best open nodes of a block."""
        nodes = Nodes.joined(self.pools[block])
        nodes = nodes.at(nodes.value < self.open_below)
        ranked = np.argsort(nodes.value, kind="stable")
        self.pools[block] = [nodes.at(ranked[_NEXT:])] if len(ranked) > _NEXT else []
        if len(ranked):
            for children in self._children(block, nodes.at(ranked[:_NEXT])):
                self.pools[block + 1].append(children)

    # Children.

    def _children(self, block: int, nodes: Nodes) -> Iterator[Nodes]:
        """Those of some nodes of a block; mappings that are whole are scored and offered."""
        for tile in np.unique(nodes.tile):
            here = nodes.at(nodes.tile == tile)
            choices = self._choices(block, int(tile), here)
            for parents, chosen in self._pairs(here, choices):
                yield from self._ordered(block, parents, chosen)

    def _choices(self, block: int, tile: int, here: Nodes) -> _Choices:
        """Loops and instances that are not bounded away for the best of the nodes of a tile."""
        relaxation, lattice = self.relaxation, self.relaxation.lattice
        loops = lattice.box(tile)
        least = Nodes(
            here.temporal[:1], here.spatial[:1], here.order[:1], here.tile[:1],
            here.energy.min(keepdims=True), here.cycles.min(keepdims=True),
            here.units.max(keepdims=True), here.value[:1],
        )  # fmt: skip
        rows = relaxation.rows_of(block, tile, loops)
        energy = relaxation.stage(block, 0)[rows, loops].min(0)
        busy = relaxation.busy(block, 0)[loops]
        stay = self._open(least, energy, busy)
        rows, loops = rows[:, stay], loops[stay]
        reads = relaxation.reads(block)[rows, loops]
        inside = loops
        found = np.ones((len(loops), 0, len(self.nest.dims)), np.int64)
        index, paid = np.arange(len(loops)), np.zeros(len(loops))
        for number, choices in enumerate(relaxation.blocks[block].spread):
            level = relaxation.blocks[block].level + number
            parts: list[tuple[Whole, Whole, Whole, Array, Array, Array]] = []
            stage, busy = relaxation.stage(block, number + 1), relaxation.busy(block, number + 1)
            taken = found.prod((1, 2))
            for factors, shift in choices:
                divides = (lattice.sizes[:, inside] % np.array(factors)[:, None] == 0).all(0)
                some = np.flatnonzero(divides)
                cells = inside[some] - lattice.distance(shift)
                more = paid[some] + relaxation.spread_pj(level, factors)
                energy = (reads[:, index[some]] + stage[rows[:, index[some]], cells]).min(0) + more
                units = busy[cells] * np.prod(factors) * taken[some]
                stay = self._open(least, energy, units)
                some, cells = some[stay], cells[stay]
                row = np.broadcast_to(np.array(factors), (len(some), 1, len(factors)))
                spread = np.concatenate([found[some], row], 1)
                parts.append((index[some], cells, spread, energy[stay], units[stay], more[stay]))
            index, inside, found, energy, busy, paid = (
                np.concatenate(one) for one in zip(*parts, strict=True)
            )
        return _Choices(loops[index], found, inside, energy, busy)

    def _open(self, nodes: Nodes, energy: Array, busy: Array) -> NDArray[np.bool_]:
        """Whether inner energies and busy units may still lead to something better."""
        with np.errstate(divide="ignore"):
            cycles = np.maximum(nodes.cycles, self.macs / (nodes.units * busy))
        total = nodes.energy + energy + self.relaxation.base
        return self.goal.value(total, cycles) < self.open_below

    def _bounded(self, nodes: Nodes, to_go: Array, parallel: Array) -> Nodes:
        with np.errstate(divide="ignore"):
            cycles = np.maximum(nodes.cycles, self.macs / (nodes.units * parallel))
        value = self.goal.value(nodes.energy + to_go + self.relaxation.base, cycles)
        arrays = [getattr(nodes, field.name) for field in fields(nodes)][:-1]
        return Nodes(*arrays, np.maximum(value, nodes.value))

    def _pairs(self, here: Nodes, choices: _Choices) -> Iterator[tuple[Nodes, _Choices]]:
        """Nodes with choices that may be better, some at a time."""
        for start in range(0, len(here), _NEXT):
            part = here.at(np.arange(start, min(start + _NEXT, len(here))))
            cycles = np.maximum(
                part.cycles[:, None], self.macs / (part.units[:, None] * choices.busy)
            )
            total = part.energy[:, None] + choices.energy + self.relaxation.base
            open_ = self.goal.value(total, cycles) < self.open_below
            parents, chosen = np.nonzero(open_)
            for first in range(0, len(parents), _PART):
                cut = slice(first, first + _PART)
                yield part.at(parents[cut]), choices.at(chosen[cut])

    def _ordered(self, block: int, parents: Nodes, chosen: _Choices) -> Iterator[Nodes]:
        """All orders of the loops of pairs of nodes and choices."""
        lattice, one = self.relaxation.lattice, self.relaxation.blocks[block]
        factors = (lattice.sizes[:, parents.tile] // lattice.sizes[:, chosen.loops]).T
        bits = (factors > 1) @ (1 << np.arange(factors.shape[1]))
        for pattern in np.unique(bits):
            some = np.flatnonzero(bits == pattern)
            loops = tuple(n for n in range(factors.shape[1]) if pattern >> n & 1)
            still = tuple(n for n in range(factors.shape[1]) if n not in loops)
            if one.inner == len(self.architecture.levels):
                ways = [loops]  # the arithmetic takes everything anew
            else:
                ways = orders(self.relaxation.access, loops, self.rule)
            table = np.array([still + way for way in ways], np.int64)
            step = max(_PART // len(table), 1)
            for start in range(0, len(some), step):
                part = some[start : start + step]
                repeated = np.repeat(part, len(table))
                nodes, choices = parents.at(repeated), chosen.at(repeated)
                level = one.level
                nodes.temporal[:, level] = factors[repeated]
                nodes.order[:, level] = np.tile(table, (len(part), 1))
                nodes.spatial[:, level : one.inner] = choices.spread
                yield from self._scored(block, nodes, choices)

    def _scored(self, block: int, nodes: Nodes, choices: _Choices) -> Iterator[Nodes]:
        inner, depth = self.relaxation.blocks[block].inner, len(self.architecture.levels)
        self.best.scored += len(nodes)
        if inner == depth:
            batch = self._batch(nodes, depth)
            fast = score_fast(self.nest, self.architecture, batch, self.rule)
            values = self.goal.value(fast.energy_pj, fast.latency_cycles)
            self._check(values, nodes.value)
            self.best.offer(np.where(fast.fits, values, np.inf), batch)
            return
        nodes.temporal[:, inner] = self.relaxation.lattice.sizes[:, choices.tile].T
        machine = Architecture(
            self.architecture.name, self.architecture.levels[: inner + 1], 0.0
        )
        batch = self._batch(nodes, inner + 1)
        fast = score_fast(self.nest, machine, batch, self.rule, exchange=True)
        units = nodes.units * choices.spread.prod((1, 2))
        found = Nodes(
            nodes.temporal, nodes.spatial, nodes.order, choices.tile, fast.energy_pj,
            fast.latency_cycles, units, nodes.value,
        )  # fmt: skip
        to_go = self.relaxation.to_go[inner][choices.tile]
        found = self._bounded(found, to_go, self.relaxation.parallel[inner][choices.tile])
        found = found.at(found.value < self.open_below)
        if len(found):
            yield found

    def _batch(self, nodes: Nodes, levels: int) -> Batch:
        temporal, spatial = (
            np.ascontiguousarray(array[:, :levels].transpose(1, 2, 0).astype(float))
            for array in (nodes.temporal, nodes.spatial)
        )
        order = np.ascontiguousarray(nodes.order[:, :levels].transpose(1, 2, 0))
        return Batch(self.nest.dims, temporal, spatial, order, self.relaxation.keep[:levels])

    @staticmethod
    def _check(values: Array, bounds: Array) -> None:
        """A bound above what it bounds is an error here, never a result."""
        assert (values >= bounds * (1 - 1e-9)).all(), "a lower bound is above a mapping's value"
