"""From relaxed sizes to designs: one size after the other to both its neighbours.

When one size is at a step, the others move on: what a smaller array leaves of an area goes to the
memories. The designs at the ends, and then the neighbours of the best, keep their sizes while the
mappings on them move on, so that each has a relaxed value of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from mlcnn.codesign.exploration.relaxed.search import Pace, Relaxation, Starts, Target
from mlcnn.codesign.exploration.template import Design

__all__ = ["Ranked", "rounded"]

_MOST = 32
"""Designs at work at once."""
_AROUND = 4
"""Rounds of neighbours."""
_BEST = 2
"""Designs of a round whose neighbours follow."""
_PACE = Pace(steps=80, first=0.3, last=0.01)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A design and what it is relaxed to.

    Attributes:
        design: it.
        target: number of the target that it is for.
        worth: see ``Starts``.
    """

    design: Design
    target: int
    worth: float


@dataclass(frozen=True, slots=True)
class _Nodes:
    """Starts some of whose sizes are at steps.

    Attributes:
        starts: they.
        target: what each makes small.
        kind: number of its target.
        steps: numbers of the first sizes' steps.
    """

    starts: Starts
    target: Target
    kind: list[int]
    steps: list[Design]

    def at(self, rows: Sequence[int]) -> "_Nodes":
        """Some of them."""
        numbers = torch.tensor(rows, device=self.starts.sizes.device)
        return _Nodes(
            self.starts.at(numbers),
            self.target.at(numbers),
            [self.kind[row] for row in rows],
            [self.steps[row] for row in rows],
        )

    def best(self, most: int) -> "_Nodes":
        """The best of each kind and steps, and of them the best of all kinds in turn."""
        worth: list[float] = self.starts.worth.tolist()
        place: dict[int, int] = {}
        seen: set[tuple[int, Design]] = set()
        turns: list[tuple[int, int]] = []
        for row in sorted(range(len(worth)), key=worth.__getitem__):
            kind = self.kind[row]
            if (kind, self.steps[row]) not in seen:
                seen.add((kind, self.steps[row]))
                turns.append((place.setdefault(kind, 0), row))
                place[kind] += 1
        return self.at([row for _, row in sorted(turns, key=lambda one: one[0])[:most]])


class _Rounding:
    def __init__(self, relaxation: Relaxation, designs: Iterable[Design]) -> None:
        self.relaxation, self.designs = relaxation, frozenset(designs)
        parameters = relaxation.space.parameters
        self.logs = [torch.tensor(np.log(one.values)).to(relaxation.low) for one in parameters]
        self.allowed = {one[:length] for one in self.designs for length in range(len(one) + 1)}

    def moved(self, nodes: _Nodes) -> _Nodes:
        """Nodes after some steps in which the sizes that are at steps stay there."""
        fixed = len(nodes.steps[0])
        free = torch.ones_like(nodes.starts.sizes)
        free[:, :fixed] = 0.0
        starts = self.relaxation.moved(nodes.starts, nodes.target, _PACE, free)
        return replace(nodes, starts=starts)

    def placed(self, nodes: _Nodes, rows: Sequence[int], steps: Sequence[Design]) -> _Nodes:
        """Copies of nodes with the first sizes at steps."""
        found = nodes.at(rows)
        sizes = found.starts.sizes.clone()
        for number, logs in enumerate(self.logs[: len(steps[0])]):
            sizes[:, number] = logs[torch.tensor([one[number] for one in steps])]
        return replace(found, starts=replace(found.starts, sizes=sizes), steps=list(steps))

    def down(self, nodes: _Nodes) -> _Nodes:
        """All sizes to their steps, one after the other."""
        for number, logs in enumerate(self.logs):
            rows: list[int] = []
            steps: list[Design] = []
            values = nodes.starts.sizes[:, number].contiguous()
            above = torch.searchsorted(logs, values).clamp(max=len(logs) - 1).tolist()
            for row, upper in enumerate(above):
                for one in {max(upper - 1, 0), upper}:
                    if (*nodes.steps[row], one) in self.allowed:
                        rows.append(row)
                        steps.append((*nodes.steps[row], one))
            if not rows:  # none is within the bounds: the nearest that is
                rows, steps = self._nearest(nodes, number)
            nodes = self.placed(nodes, rows, steps).best(2 * _MOST)
            nodes = self.moved(nodes).best(_MOST)
        return nodes

    def _nearest(self, nodes: _Nodes, number: int) -> tuple[list[int], list[Design]]:
        """The nearest step that a candidate has, of every node."""
        rows = list(range(len(nodes.steps)))
        steps: list[Design] = []
        for row in rows:
            before = nodes.steps[row]
            far: list[float] = (self.logs[number] - nodes.starts.sizes[row, number]).abs().tolist()
            some = [one for one in range(len(far)) if (*before, one) in self.allowed]
            steps.append((*before, min(some, key=far.__getitem__)))
        return rows, steps

    def around(self, nodes: _Nodes) -> list[Ranked]:
        """All designs at the ends and around the best of them."""
        found: dict[tuple[int, Design], float] = {}
        done: set[tuple[int, Design]] = set()
        for _ in range(_AROUND):
            for kind, steps, worth in zip(
                nodes.kind, nodes.steps, nodes.starts.worth.tolist(), strict=True
            ):
                found[kind, steps] = min(worth, found.get((kind, steps), np.inf))
            rows: list[int] = []
            steps_: list[Design] = []
            for row in range(len(nodes.steps)):
                mine = (nodes.kind[row], nodes.steps[row])
                ahead = sum(
                    one < found[mine] for (kind, _), one in found.items() if kind == mine[0]
                )
                if mine in done or ahead >= _BEST:
                    continue
                done.add(mine)
                for one in self.relaxation.space.neighbours(nodes.steps[row]):
                    if one in self.designs and (nodes.kind[row], one) not in found:
                        rows.append(row)
                        steps_.append(one)
            if not rows:
                break
            nodes = self.moved(self.placed(nodes, rows, steps_).best(_MOST))
        return [Ranked(design, kind, worth) for (kind, design), worth in found.items()]


def rounded(
    relaxation: Relaxation,
    starts: Starts,
    target: Target,
    kinds: Sequence[int],
    designs: Iterable[Design],
) -> list[Ranked]:
    """Designs near relaxed ones, the best of each target first.

    Args:
        relaxation: the problem.
        starts: relaxed.
        target: of each.
        kinds: number of each start's target, in their order.
        designs: those that there are.
    """
    rounding = _Rounding(relaxation, designs)
    nodes = _Nodes(starts, target, list(kinds), [()] * len(kinds))
    return sorted(rounding.around(rounding.down(nodes)), key=lambda one: one.worth)
