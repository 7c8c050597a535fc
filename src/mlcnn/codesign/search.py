"""The search of one nest on one machine: branches that are bounded, and limits that grow.

Each choice of what the levels keep is a branch (``branch``) with a bound (``relaxation``). A limit
that grows is set on the objective: below it every branch is searched whole, so that nothing is left
that is better once the best found is below the limit. The first limit is little above the least
bound; what was found at one limit cuts the search at the next.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.bounds import lower_bound
from mlcnn.codesign.branch import Branch
from mlcnn.codesign.compiled import score_fast
from mlcnn.codesign.constraints import Constraints
from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.enumeration import Goal, Objective, Weighted, keep_masks
from mlcnn.codesign.incumbent import CLOSE, Incumbent, Priced
from mlcnn.codesign.relaxation import Relaxation, priced
from mlcnn.codesign.scorer import check_keep, fits
from mlcnn.codesign.tiles import Lattice
from mlcnn.errors import InfeasibleError
from mlcnn.workload import LoopNest

__all__ = ["Progress", "Search", "Task"]

_FIRST, _GROWTH, _LAST = 1e-3, 10.0, 1e5
"""The first limit, above the least bound; how its distance grows; beyond the last there is none."""
_MORE = 1.5
"""How much longer the best so far must wait for the outermost level than for the arithmetic, if it
is to be taken for granted that others do so."""
_NEAR = 1.1
"""How far above the bound something may be that is good enough to begin with."""
Progress = Callable[[float, float], None]
"""Told the best value so far, infinite at first, and the bound."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is looked for, on which machine.

    Attributes:
        over: whether to stop.
        start: a mapping to start from, alone.
        margin: share of the best above which nothing is looked for.
    """

    architecture: Architecture
    goal: Goal
    rule: Convention
    constraints: Constraints | None
    over: Callable[[], bool]
    start: Batch | None = None
    margin: float = 0.0

    def starts(self, nest: LoopNest) -> bool:
        """Whether the mapping to start from is one that a search of a nest might find."""
        if self.start is None:
            return False
        check_keep(self.architecture, self.start)
        factors = self.start.temporal * self.start.spatial
        loops = np.array([number == 0 or bool(level.keeps) for number, level in
                          enumerate(self.architecture.levels)])  # fmt: skip
        return bool(
            (factors.prod(0)[:, 0] == nest.sizes).all()
            and (self.start.temporal[~loops] == 1).all()
            and fits(nest, self.architecture, self.start, self.rule)[0]
            and (self.constraints is None or self.constraints.allows(self.start)[0])
        )


class Search:
    """The branches of a nest on a machine, those of the least bound first.

    Attributes:
        proven: no mapping is below it.
    """

    def __init__(self, lattice: Lattice, task: Task, value: float = np.inf) -> None:
        nest = lattice.nest
        self.lattice, self.nest, self.task = lattice, nest, task
        self.architecture, self.goal, self.rule = task.architecture, task.goal, task.rule
        self.machine = self.architecture
        self.best = Incumbent(task.over, value, task.margin)
        self.relaxations: dict[bytes, Relaxation] = {}
        self.least = lower_bound(nest, task.architecture)
        self.bounding: Priced | None = None
        self.branches: list[Branch] = []
        self.flowing = False
        self.masks: list[tuple[float, int, NDArray[np.bool_]]] = []
        for number, mask in enumerate(keep_masks(task.architecture)):
            if task.constraints is None or task.constraints.keep_allowed(mask):
                bound = float(lower_bound(nest, task.architecture, mask).of(task.goal))
                self.masks.append((bound, number, mask))
        heapq.heapify(self.masks)
        self.proven = self.masks[0][0] if self.masks else np.inf
        if task.start is not None and task.starts(nest):
            self._take(task.start)
            self._flow()

    def go(self, progress: Progress | None) -> bool:
        """Search; whether it was not interrupted.

        Raises:
            KeyboardInterrupt: before anything was found.
        """
        first = self
        if self.goal is Objective.LATENCY:
            # Most of what is fast moves little; the best of both is often fastest already.
            first = Search(self.lattice, replace(self.task, goal=Objective.EDP))
        try:
            first.run(progress if first is self else None)
            if first is not self:
                self.follow(first)
                self.run(progress)
        except KeyboardInterrupt:
            if first.best.batch is None:
                raise
            self.follow(first)
            return False
        return True

    def run(self, progress: Progress | None) -> None:
        """Search until the best is proven or there is no more time."""
        self._open(0.0)
        if not self.branches:
            self.proven = np.inf
            return
        self._dive(None)
        self._flow()
        dived = self._next()
        while self._waiting(self._least()) and not self.best.over():
            self._open(self.masks[0][0])
        self._dive(dived)
        self._flow()
        # (Where time was over, some branches may not be bounded yet.)
        first = self.proven = min([self._least(), *(bound for bound, _, _ in self.masks[:1])])
        distance = _FIRST
        if self.best.ceiling <= first:
            self.proven = self.best.ceiling
            return
        while np.isfinite(first) and not self.best.over():
            limit = first * (1 + distance) if distance < _LAST else np.inf
            self._open(min(limit, self.best.ceiling))
            for branch in sorted(self.branches, key=lambda one: one.rank):
                if branch.root_value < min(limit, self.best.ceiling):
                    branch.below(limit)
            if not self.best.over():
                self.proven = min(limit, self.best.ceiling)
            self._close()
            if progress is not None:
                progress(self.best.value, self.proven)
            if self.best.ceiling <= limit or np.isinf(limit):
                return
            distance *= _GROWTH

    def follow(self, other: "Search") -> None:
        """Start from what another search of the same nest and machine found."""
        self.relaxations, self.flowing = other.relaxations, other.flowing
        if other.best.batch is not None:
            self._take(other.best.batch)
            self.best.scored += other.best.scored

    def _take(self, batch: Batch) -> None:
        """Take a mapping if it is better than the best."""
        scored = score_fast(self.nest, self.architecture, batch, self.rule)
        self.best.offer(self.goal.of(scored), scored, batch)

    def _next(self) -> Branch:
        """The branch of the least bound."""
        return min(self.branches, key=lambda one: one.rank)

    def _dive(self, dived: Branch | None) -> None:
        """Find something from the branch of the least bound, if that was not dived into."""
        branch = self._next()
        near = self.best.value <= branch.root_value * _NEAR
        if np.isfinite(branch.root_value) and branch is not dived and not near:
            branch.dive()

    def _flow(self) -> None:
        """Bound the cycles of the outermost level where it is what the best so far waits for."""
        batch = self.best.batch
        if self.goal is Objective.ENERGY or batch is None or self.bounding is not None:
            return
        cycles = score_fast(self.nest, self.architecture, batch, self.rule).latency_cycles[0]
        computing = self.nest.macs / batch.spatial.prod()
        self.flowing = bool(cycles > computing)
        if isinstance(self.goal, Weighted) and cycles > _MORE * computing:
            # Both in one sum bound it better than each of them.
            machine = priced(self.architecture, self.goal.pj_per_cycle)
            if machine is not None:
                self.bounding = Priced(self.goal.pj_per_cycle, self.least.energy_pj)
                self.machine, self.relaxations = machine, {}
                self.branches = [self._branch(one.relaxation.keep) for one in self.branches]
                return
        if self.flowing:
            for branch in self.branches:
                branch.bound_flow()

    def _least(self) -> float:
        return min(branch.root_value for branch in self.branches)

    def _close(self) -> None:
        """Forget the branches that hold nothing better than the best: they take memory."""
        better = self.best.ceiling * (1 - CLOSE)
        open_ = [one for one in self.branches if one.root_value < better]
        self.branches = open_ or self.branches[:1]
        self.relaxations = {one.relaxation.keep.tobytes(): one.relaxation for one in self.branches}

    def _waiting(self, limit: float) -> bool:
        """Whether there may be a branch below a limit, and the best, that is not bounded yet."""
        if not self.masks or self.masks[0][0] >= self.best.ceiling * (1 - CLOSE):
            return False
        return self.masks[0][0] <= limit

    def _open(self, limit: float) -> None:
        """Bound the branches of which no more is known than that they may be below a limit."""
        while self._waiting(limit) or (self.masks and not self.branches):
            _, _, mask = heapq.heappop(self.masks)
            try:
                branch = self._branch(mask)
            except InfeasibleError:  # for every mask
                self.masks.clear()
                return
            self.branches.append(branch)
            if self.best.over():
                return

    def _branch(self, mask: NDArray[np.bool_]) -> Branch:
        key, rules = mask.tobytes(), self.task.constraints
        if key not in self.relaxations:
            made = Relaxation(self.lattice, self.machine, mask, self.rule, rules)
            self.relaxations[key] = made
        branch = Branch(
            self.relaxations[key],
            self.architecture,
            self.rule,
            goal=self.goal,
            best=self.best,
            latency_cycles=self.least.latency_cycles,
            bounding=self.bounding,
        )
        if self.flowing and self.bounding is None:
            branch.bound_flow()
        return branch
