"""Branch and bound over the mappings of a nest on a machine whose levels keep what a mask says.

From the outermost level inwards, a node is what the loops and instances of some levels are; what
their levels exchange is scored exactly, and what is inside is bounded by ``Relaxation``. Of the
tiles that the outermost level on the chip may hold, the best come first; below each, everything
that is not bounded away is looked at before the next.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.compiled import score_fast
from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.enumeration import Goal
from mlcnn.codesign.incumbent import CLOSE, Incumbent, Priced
from mlcnn.codesign.nodes import Choices, Nodes, cuts, first_of, ragged
from mlcnn.codesign.orders import orders
from mlcnn.codesign.relaxation import Relaxation

__all__ = ["Branch"]

_NEXT, _DIVING = 1024, 128
"""Nodes that are expanded together: in a search, and in a dive."""
_PAIRS = 1 << 18
_PART = 1 << 15
"""Pairs of nodes and choices, and mappings, that are looked at together."""
_ROUNDING = 1e-9
_DIVES = (1e-3, 1e-2, 0.1, 1.0, 10.0, np.inf)
"""How far above the best bound children of a dive may be, where there are none nearer."""
_INPUT = 1

Array = NDArray[np.float64]
Whole = NDArray[np.int64]


class Branch:
    """The open nodes of one mask.

    Args:
        relaxation: the bounds; of a priced machine, energies hold cycles.
        architecture: the machine.
        rule: what is counted.
        goal: what is made small.
        best: the best of all branches.
        latency_cycles: that every mapping takes at least.
        bounding: what is bounded, if not the goal itself.

    Attributes:
        flow: bounds of the cycles that the outermost level takes; None where they are not looked
            at.
    """

    def __init__(
        self,
        relaxation: Relaxation,
        architecture: Architecture,
        rule: Convention,
        *,
        goal: Goal,
        best: Incumbent,
        latency_cycles: float,
        bounding: Priced | None = None,
    ) -> None:
        self.relaxation, self.architecture, self.rule = relaxation, architecture, rule
        self.goal, self.best, self.constraints = goal, best, relaxation.constraints
        self.bounding = bounding or goal
        self.nest = relaxation.lattice.nest
        self.macs = float(self.nest.macs)
        self.limit = np.inf
        # Whether fewer words always show in the energy.
        self.strict = all(
            level.read_pj > 0 and level.write_pj > 0 for level in architecture.levels if level.keeps
        )
        depth, dims = len(architecture.levels), len(self.nest.dims)
        # Narrow, as most of the work is to copy them.
        ones = np.ones((1, depth, dims), np.min_scalar_type(-1 - max(self.nest.sizes)))
        order = np.tile(np.arange(dims, dtype=np.int8), (1, depth, 1))
        zero, cycles = np.zeros(1), np.array([float(latency_cycles)])
        last = np.array([relaxation.lattice.cells - 1])
        self.flow: Relaxation | None = None
        self.root = Nodes(
            ones, ones, order, last, np.array([relaxation.rows[0].everything]), zero, cycles, zero,
            np.ones(1, np.int64), zero, zero,
        )  # fmt: skip
        self.root = self._bounded(self.root, relaxation.blocks[0].level)
        self.pools: list[list[Nodes]] = [[] for _ in relaxation.blocks]
        self._boxes: dict[int, Whole] = {}

    @property
    def root_value(self) -> float:
        """No mapping of this branch is below it."""
        return float(self.root.value[0])

    @property
    def rank(self) -> tuple[float, float]:
        """The bounds of the objective and of the energy."""
        return self.root_value, float(self.root.least[0])

    def below(self, limit: float) -> None:
        """Look at every mapping that is better than the best so far and a limit.

        Args:
            limit: value of the objective.
        """
        self.limit = limit
        self.pools = [[] for _ in self.pools]
        if self.root_value < self.open_below:
            self.pools[0].append(self.root)
        while not self.best.over():
            open_ = [number for number, pool in enumerate(self.pools) if pool]
            if not open_:
                return
            self._expand(open_[-1])

    def dive(self) -> None:
        """Follow the best few nodes down to whole mappings, to have something to compare with."""
        nodes, last = self.root, len(self.pools) - 1
        for block in range(len(self.pools)):
            before, found = self.best.value, list[Nodes]()
            for distance in _DIVES:
                self.limit = float(nodes.value.min()) * (1 + distance)
                found = list(self._children(block, nodes))
                if found or self.best.value < before or self.best.over():
                    break
            if block == last or not found:
                return
            nodes = Nodes.joined(found)
            nodes = nodes.at(np.lexsort((nodes.least, nodes.value))[:_DIVING])

    @property
    def open_below(self) -> float:
        """What is bounded by this or more is not looked at."""
        return min(self.limit, self.best.ceiling * (1 - CLOSE))

    def bounds_of(self, batch: Batch) -> Array:
        """Bounds on the way to one mapping, which none of them may exceed.

        Args:
            batch: the mapping alone.

        Returns:
            Of the root and of the mapping's outer levels down to each level with loops.
        """
        lattice, nodes = self.relaxation.lattice, self.root.at(np.zeros(1, np.int64))
        temporal, spatial, order = (
            array[..., 0].astype(np.int64) for array in (batch.temporal, batch.spatial, batch.order)
        )
        result = [float(nodes.value[0])]
        for block in self.relaxation.blocks[:-1]:
            spread = spatial[None, block.level : block.inner]
            inside = lattice.cell(temporal[block.inner :].prod(0) * spatial[block.inner :].prod(0))
            loops = lattice.cell(lattice.sizes[:, inside] * spread.prod((0, 1)))
            here = (np.zeros(1, np.int64), np.array([loops]), spread, np.array([inside]))
            choices = Choices(*here, np.zeros(1), np.zeros(1), np.ones(1))
            nodes.temporal[:, block.level] = temporal[block.level]
            nodes.order[:, block.level] = order[block.level]
            nodes.spatial[:, block.level : block.inner] = spread
            nodes, _ = self._exchanged(block.inner, nodes, choices)
            result.append(float(nodes.value[0]))
        return np.array(result)

    def _expand(self, block: int) -> None:
        """Make the children of the best open nodes of a block."""
        nodes = Nodes.joined(self.pools[block])
        nodes = nodes.at(nodes.value < self.open_below)
        ranked = np.lexsort((nodes.least, nodes.value))
        self.pools[block] = [nodes.at(ranked[_NEXT:])] if len(ranked) > _NEXT else []
        if len(ranked):
            for children in self._children(block, nodes.at(ranked[:_NEXT])):
                self.pools[block + 1].append(children)

    # Children.

    def _children(self, block: int, nodes: Nodes) -> Iterator[Nodes]:
        """Those of some nodes of a block; mappings that are whole are scored and offered."""
        # What may follow hangs on the tile, and on what the loops outside leave still.
        kinds = nodes.tile * self.relaxation.rows[block].many + nodes.row
        ranked = np.argsort(kinds, kind="stable")
        nodes = nodes.at(ranked)
        tiles, first, owner = np.unique(kinds[ranked], return_index=True, return_inverse=True)
        least = Nodes(
            nodes.temporal[first], nodes.spatial[first], nodes.order[first], nodes.tile[first],
            nodes.row[first],
            np.minimum.reduceat(nodes.energy, first), np.minimum.reduceat(nodes.cycles, first),
            np.minimum.reduceat(nodes.flow, first), np.maximum.reduceat(nodes.units, first),
            nodes.value[first], nodes.least[first],
        )  # fmt: skip
        choices = self._choices(block, least)
        counts = np.bincount(choices.owner, minlength=len(tiles))
        start = np.cumsum(counts) - counts
        step = max(_PAIRS // max(int(counts.max()), 1), 1)
        for begin in range(0, len(nodes), step):
            part = slice(begin, begin + step)
            parent, number = ragged(counts[owner[part]])
            parent += begin
            chosen = start[owner[parent]] + number
            costs = [choices.energy[chosen], choices.flow[chosen]]
            open_ = self._open(nodes, parent, costs, choices.busy[chosen])
            yield from self._ordered(block, nodes.at(parent[open_]), choices.at(chosen[open_]))

    def _choices(self, block: int, tiles: Nodes) -> Choices:
        """Loops and instances that are not bounded away for nodes of different tiles."""
        relaxation, lattice = self.relaxation, self.relaxation.lattice
        bounds = [relaxation] if self.flow is None else [relaxation, self.flow]
        boxes = [self._box(int(tile)) for tile in tiles.tile]
        owner, _ = ragged(np.array([len(box) for box in boxes]))
        loops = np.concatenate(boxes)
        rows = relaxation.rows_of(block, tiles.tile[owner], loops, tiles.row[owner])
        costs = [
            (one.stage(block, 0)[rows, loops] + one.reads(block)[rows, loops]).min(0)
            for one in bounds
        ]
        stay = self._open(tiles, owner, costs, relaxation.busy(block, 0)[loops])
        stay &= self._allowed(block, tiles.tile[owner], loops)
        owner, loops, rows = owner[stay], loops[stay], rows[:, stay]
        index, inside = np.arange(len(loops)), loops
        found = np.ones((len(loops), 0, len(self.nest.dims)), np.int64)
        paid = [np.zeros(len(loops)) for _ in bounds]
        costs, busy = [one[stay] for one in costs], np.ones(len(loops))
        for number, spread in enumerate(relaxation.blocks[block].spread):
            away = np.array([lattice.distance(shift) for shift in spread.shifts])
            instances = spread.instances
            sizes = lattice.sizes[:, inside]
            some, way = np.nonzero((sizes.T[:, None] % spread.factors.prod(1) == 0).all(2))
            outer, cells, row = inside[some], inside[some] - away[way], rows[:, index[some]]
            paid = [
                before[some] + one.sending.spread_pj(spread, way, outer, cells)
                for before, one in zip(paid, bounds, strict=True)
            ]
            costs = [
                before
                + (
                    one.reads(block)[row, loops[index[some]]]
                    + one.stage(block, number + 1)[row, cells]
                ).min(0)
                for before, one in zip(paid, bounds, strict=True)
            ]
            units = found[some].prod((1, 2)) * instances[way]
            busy = relaxation.busy(block, number + 1)[cells] * units
            stay = self._open(tiles, owner[index[some]], costs, busy)
            some, way = some[stay], way[stay]
            index, inside, paid = index[some], cells[stay], [one[stay] for one in paid]
            costs, busy = [one[stay] for one in costs], busy[stay]
            found = np.concatenate([found[some], spread.factors[way]], 1)
        return Choices(owner[index], loops[index], found, inside, costs[0], costs[-1], busy)

    def _allowed(self, block: int, outer: Whole, loops: Whole) -> NDArray[np.bool_]:
        """Whether the loops between outer tiles and those inside keep to the constraints."""
        sizes, result = self.relaxation.lattice.sizes, np.ones(len(loops), bool)
        if self.constraints is not None:
            level = self.relaxation.blocks[block].level
            for number, dim in enumerate(self.nest.dims):
                allowed = self.constraints.factors_allowed(level, dim, spatial=False)
                result &= allowed.among(sizes[number, outer] // sizes[number, loops])
        return result

    def _box(self, tile: int) -> Whole:
        if tile not in self._boxes:
            self._boxes[tile] = self.relaxation.lattice.box(tile)
        return self._boxes[tile]

    def _open(self, nodes: Nodes, row: Whole, costs: list[Array], busy: Array) -> NDArray[np.bool_]:
        """Whether inner energies and busy units may still lead to something better.

        Args:
            nodes: what they are inside of.
            row: node of each.
            costs: bounds of the energy inside and, where they are looked at, of the cycles that the
                outermost level takes for it.
            busy: bound of the units inside.
        """
        with np.errstate(divide="ignore"):
            cycles = np.maximum(nodes.cycles[row], self.macs / (nodes.units[row] * busy))
        if self.flow is not None:
            cycles = np.maximum(cycles, nodes.flow[row] + costs[1])
        total = nodes.energy[row] + costs[0] + self.relaxation.base
        return self.bounding.worth(total, cycles) < self.open_below

    def _bounded(self, nodes: Nodes, level: int) -> Nodes:
        """The nodes with the bound of what a level may still lead to."""
        relaxation = self.relaxation
        with np.errstate(divide="ignore"):
            units = nodes.units * relaxation.parallel[level][nodes.tile]
            cycles = np.maximum(nodes.cycles, self.macs / units)
        if self.flow is not None:
            flow = nodes.flow + self.flow.to_go[level][nodes.row, nodes.tile]
            cycles = np.maximum(cycles, flow)
        total = nodes.energy + relaxation.to_go[level][nodes.row, nodes.tile] + relaxation.base
        value = np.maximum(self.bounding.worth(total, cycles), nodes.value)
        return replace(nodes, value=value, least=total)

    def _ordered(self, block: int, parents: Nodes, chosen: Choices) -> Iterator[Nodes]:
        """The children of pairs of nodes and choices: all orders of their loops."""
        lattice, one = self.relaxation.lattice, self.relaxation.blocks[block]
        factors = (lattice.sizes[:, parents.tile] // lattice.sizes[:, chosen.loops]).T
        stay = ~self._twice(block, parents, factors)
        parents, chosen, factors = parents.at(stay), chosen.at(stay), factors[stay]
        bits = (factors > 1) @ (1 << np.arange(factors.shape[1]))
        patterns, pattern = np.unique(bits, return_inverse=True)
        tables, alike = (
            zip(*(self._ways(block, int(bit)) for bit in patterns), strict=True)
            if (len(patterns))
            else ((), ())
        )
        if not tables:
            return
        counts = np.array([len(table) for table in tables])
        start = np.cumsum(counts) - counts
        ways, kinds = np.concatenate(tables), np.concatenate(alike)
        each = counts[pattern]
        for cut in cuts(each, _PART):
            pair, number = ragged(each[cut])
            pair += cut.start
            way = start[pattern[pair]] + number
            nodes, choices = parents.at(pair), chosen.at(pair)
            nodes.temporal[:, one.level] = factors[pair]
            nodes.order[:, one.level] = ways[way]
            nodes.spatial[:, one.level : one.inner] = choices.spread
            if one.inner == len(self.architecture.levels):
                self._score(nodes)
                continue
            found, index = self._exchanged(one.inner, nodes, choices)
            if self.strict:
                found = found.at(first_of(pair[index], kinds[way[index]], found.energy))
            if len(found):
                yield found

    def _ways(self, block: int, bits: int) -> tuple[Whole, Whole]:
        """Orders of all dimensions, those without a loop outermost; and which are alike."""
        one, keep = self.relaxation.blocks[block], self.relaxation.keep
        dims = range(len(self.nest.dims))
        loops = tuple(n for n in dims if bits >> n & 1)
        still = tuple(n for n in dims if n not in loops)
        taken, deeper = (
            tuple(int(n) for n in np.flatnonzero(keep[level:].any(0)))
            for level in (one.inner, one.inner + 1)
        )
        allowed = None
        if self.constraints is not None and self.constraints.orders(one.level):
            rules, names = self.constraints, self.nest.dims
            allowed = tuple(
                way
                for way in itertools.permutations(loops)
                if rules.order_allowed(one.level, [names[dim] for dim in way])
            )
            if not taken:
                allowed = allowed[:1]  # the arithmetic takes everything anew, in any order
        found = orders(
            self.relaxation.access, loops, (taken, deeper), rule=self.rule, allowed=allowed
        )
        table = [still + way for way in found.ways]
        return np.array(table, np.int64).reshape(len(table), len(dims)), np.array(
            found.alike, np.int64
        )

    def _twice(self, block: int, parents: Nodes, factors: Whole) -> NDArray[np.bool_]:
        """Whether the same counts come from loops of the innermost level one level further out.

        A loop that moves nothing that the innermost level keeps may as well be the innermost of
        the level above, where that has none of its dimension and spreads none.
        """
        last = len(self.relaxation.blocks) - 1
        if block != last or block == 0 or self.constraints is not None:
            return np.zeros(len(factors), bool)
        level, above = (self.relaxation.blocks[n].level for n in (block, block - 1))
        kept = np.flatnonzero(self.relaxation.keep[level])
        if self.rule.same_step and _INPUT in kept:
            return np.zeros(len(factors), bool)  # what is saved hangs on the innermost loop
        access = self.relaxation.access
        still = [
            n
            for n in range(factors.shape[1])
            if not any(access[operand].relevant[n] for operand in kept)
        ]
        movable = (factors > 1) & (parents.temporal[:, above] == 1)
        movable &= (parents.spatial[:, above:level] == 1).all(1)
        return movable[:, still].any(1)

    def _score(self, nodes: Nodes) -> None:
        """Score whole mappings and offer them."""
        self.best.scored += len(nodes)
        batch = self._batch(nodes, len(self.architecture.levels))
        fast = score_fast(self.nest, self.architecture, batch, self.rule)
        values = self.goal.worth(fast.energy_pj, fast.latency_cycles)
        if (values < nodes.value * (1 - _ROUNDING)).any():
            raise AssertionError("a lower bound is above what it bounds")
        self.best.offer(np.where(fast.fits, values, np.inf), fast, batch)

    def _exchanged(self, inner: int, nodes: Nodes, choices: Choices) -> tuple[Nodes, Whole]:
        """Nodes with what their levels exchange scored: those still open, and their numbers."""
        self.best.scored += len(nodes)
        nodes.temporal[:, inner] = self.relaxation.lattice.sizes[:, choices.tile].T
        machine = self.relaxation.architecture
        machine = Architecture(machine.name, machine.levels[: inner + 1], 0.0)
        batch = self._batch(nodes, inner + 1)
        fast = score_fast(self.nest, machine, batch, self.rule, exchange=True)
        late = self.relaxation.sending.late_pj(inner, nodes.spatial, choices.tile)
        found = self._bounded(
            replace(
                nodes,
                tile=choices.tile,
                row=self.relaxation.row(inner, nodes.temporal, nodes.order),
                energy=fast.energy_pj + late,
                flow=self._flowing(inner, nodes, choices, batch),
                cycles=np.maximum(fast.latency_cycles, nodes.cycles),
                units=nodes.units * choices.spread.prod((1, 2)),
            ),
            inner,
        )
        index = np.flatnonzero(found.value < self.open_below)
        return found.at(index), index

    def _flowing(self, inner: int, nodes: Nodes, choices: Choices, batch: Batch) -> Array:
        """Cycles that the outermost level takes for what is chosen."""
        if self.flow is None:
            return nodes.flow
        machine = self.flow.architecture
        machine = Architecture(machine.name, machine.levels[: inner + 1], 0.0)
        fast = score_fast(self.nest, machine, batch, self.rule, exchange=True)
        return fast.energy_pj + self.flow.sending.late_pj(inner, nodes.spatial, choices.tile)

    def bound_flow(self) -> None:
        """Look at the cycles that the outermost level takes from now on, where it has a bound."""
        if self.flow is None and (flow := self.relaxation.flow) is not None:
            self.flow = flow
            self.root = self._bounded(self.root, self.relaxation.blocks[0].level)

    def _batch(self, nodes: Nodes, levels: int) -> Batch:
        temporal, spatial = (
            np.ascontiguousarray(array[:, :levels].transpose(1, 2, 0), np.float64)
            for array in (nodes.temporal, nodes.spatial)
        )
        order = np.ascontiguousarray(nodes.order[:, :levels].transpose(1, 2, 0), np.int64)
        return Batch(self.nest.dims, temporal, spatial, order, self.relaxation.keep[:levels])
