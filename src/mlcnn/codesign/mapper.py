"""A good mapping of a nest on a machine, and how far from the best it may be.

Small spaces are scored whole, so what is found there is optimal. In others a population of
mappings is changed at random, a prime factor moved to another place or two loops swapped, and the
best are kept; the gap to ``lower_bound`` is what is known of the optimum then. What meets the bound
is optimal.
"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.bounds import lower_bound
from mlcnn.codesign.compiled import score_fast
from mlcnn.codesign.conventions import EXACT, Convention
from mlcnn.codesign.enumeration import Objective, every_mapping, factor_choices, keep_masks, places
from mlcnn.codesign.mapping import Mapping
from mlcnn.codesign.scorer import Score, score
from mlcnn.errors import InfeasibleError
from mlcnn.workload import LoopNest

__all__ = ["Mapped", "find_mapping"]

_WHOLE = 2000
"""Choices of factors up to which a space is scored whole."""
_ELITE, _CHILDREN = 256, 16
_PATIENCE = 40
_CHANGES = 3
_CLOSE = 1e-12

Array = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Mapped:
    """A mapping and what is known of it.

    Attributes:
        mapping: the best that was found.
        batch: it alone, as arrays.
        score: its latency, energy and counts.
        value: of the objective.
        bound: no mapping is below it; ``value`` where it is optimal.
        optimal: whether that is proven.
        scored: mappings that were looked at.
    """

    mapping: Mapping
    batch: Batch
    score: Score
    value: float
    bound: float
    optimal: bool
    scored: int

    @property
    def gap(self) -> float:
        """Share of ``bound`` by which it may be above the optimum."""
        return 0.0 if self.optimal else self.value / self.bound - 1.0


def find_mapping(
    nest: LoopNest,
    architecture: Architecture,
    objective: Objective = Objective.EDP,
    rule: Convention = EXACT,
    *,
    budget_s: float = 60.0,
    seed: int = 0,
) -> Mapped:
    """Look for the best mapping with perfect factors.

    Args:
        nest: the layer.
        architecture: the machine.
        objective: what is made small.
        rule: what is counted.
        budget_s: seconds after which the best so far is returned.
        seed: of the changes.

    Raises:
        InfeasibleError: no mapping that was looked at fits the machine.
        InputError: counts are beyond what float64 holds exactly.
    """
    search = _Search(nest, architecture, objective, rule, time.monotonic() + budget_s)
    proven = False
    if factor_choices(nest, architecture) <= _WHOLE:
        proven = search.everything()
    else:
        search.population(np.random.default_rng(seed))
    return search.result(proven=proven)


class _Search:
    """The best so far, and what is left of the budget."""

    def __init__(
        self,
        nest: LoopNest,
        architecture: Architecture,
        objective: Objective,
        rule: Convention,
        end: float,
    ) -> None:
        self.nest, self.architecture = nest, architecture
        self.objective, self.rule, self.end = objective, rule, end
        self.bound = lower_bound(nest, architecture).of(objective)
        self.best: Batch | None = None
        self.value = np.inf
        self.scored = 0

    @property
    def met(self) -> bool:
        """Whether the best meets the bound."""
        return self.value <= self.bound * (1 + _CLOSE)

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do, or no time to do it."""
        return self.met or time.monotonic() >= self.end

    def values(self, batch: Batch) -> Array:
        """Score mappings and keep the best; infinite where one does not fit."""
        fast = score_fast(self.nest, self.architecture, batch, self.rule)
        values = np.where(fast.fits, self.objective.of(fast), np.inf)
        self.scored += len(batch)
        index = int(values.argmin())
        if values[index] < self.value:
            self.value, self.best = float(values[index]), batch.at(np.array([index]))
        return values

    def everything(self) -> bool:
        """Score the whole space; whether there was time to."""
        for batch in every_mapping(self.nest, self.architecture):
            self.values(batch)
            if time.monotonic() >= self.end:
                return False
        return True

    def population(self, generator: np.random.Generator) -> None:
        """Change mappings at random: of all keep masks first, then of the better half of them."""
        islands = [
            _Island(self, mask, np.random.default_rng(generator.integers(2**63)))
            for mask in keep_masks(self.architecture)
        ]
        patience = 4
        while islands and not self.over:
            for island in islands:
                island.run(patience)
            islands.sort(key=lambda one: one.best)
            if len(islands) == 1 and patience >= _PATIENCE:
                return
            islands = islands[: max(len(islands) // 2, 1)]
            patience = min(patience * 2, _PATIENCE)

    def result(self, *, proven: bool) -> Mapped:
        """What was found."""
        if self.best is None:
            raise InfeasibleError(
                f"{self.nest.name} on {self.architecture.name}: none of the {self.scored} mappings "
                "looked at fits its memories; give a level more capacity"
            )
        optimal = proven or self.met
        return Mapped(
            self.best.mapping(0),
            self.best,
            score(self.nest, self.architecture, self.best, self.rule),
            self.value,
            self.value if optimal else self.bound,
            optimal,
            self.scored,
        )


class _Island:
    """Mappings of one keep mask."""

    def __init__(
        self, search: _Search, keep: NDArray[np.bool_], generator: np.random.Generator
    ) -> None:
        nest, depth = search.nest, keep.shape[0]
        self.search, self.keep, self.generator = search, keep, generator
        self.depth = depth
        # All loops outermost: of what fits at all, this does.
        self.factors: Whole = np.ones((2 * depth, len(nest.dims), 1), np.int64)
        self.factors[0, :, 0] = nest.sizes
        rows = np.arange(len(nest.dims))[None, :, None]
        self.order: Whole = np.repeat(rows, depth, 0)
        self.worth: Array = np.array([np.inf])
        self.dims = np.array([n for n, size in enumerate(nest.sizes) if size > 1], np.int64)
        self.primes = _prime_table(max(nest.sizes))
        allowed = np.array([places(dim, search.architecture) for dim in nest.dims])
        self.allowed = allowed.T

    @property
    def best(self) -> float:
        """Value of its best mapping."""
        return float(self.worth[0])

    def run(self, patience: int) -> None:
        """Go on until so many generations in turn bring nothing better."""
        since = 0
        while since < patience and not self.search.over:
            before = self.best
            self._generation()
            since = 0 if self.best < before else since + 1

    def _generation(self) -> None:
        """Children of the best; the best of all of different worth stay."""
        copies = _ELITE * _CHILDREN // self.worth.size
        factors, order = np.repeat(self.factors, copies, 2), np.repeat(self.order, copies, 2)
        if len(self.dims):
            for change in range(_CHANGES):
                self._move_factor(factors, sure=change == 0)
            self._swap_loops(order)
        batch = Batch(
            self.search.nest.dims,
            factors[: self.depth].astype(float),
            factors[self.depth :].astype(float),
            order,
            self.keep,
        )
        worth = np.concatenate([self.worth, self.search.values(batch)])
        _, first = np.unique(worth, return_index=True)
        stay = first[:_ELITE]
        self.factors = np.concatenate([self.factors, factors], 2)[:, :, stay]
        self.order = np.concatenate([self.order, order], 2)[:, :, stay]
        self.worth = worth[stay]

    def _move_factor(self, factors: Whole, *, sure: bool) -> None:
        """Move a prime factor of one dimension of each mapping to another place."""
        many = factors.shape[2]
        columns = np.arange(many)
        dim = self.dims[self.generator.integers(len(self.dims), size=many)]
        chance = self.generator.random((2, self.allowed.shape[0], many))
        source = (chance[0] * (factors[:, dim, columns] > 1)).argmax(0)
        target = (chance[1] * self.allowed[:, dim]).argmax(0)
        prime = self.primes[factors[source, dim, columns]]
        if not sure:
            prime = np.where(self.generator.random(many) < 0.5, prime, 1)
        factors[source, dim, columns] //= prime
        factors[target, dim, columns] *= prime

    def _swap_loops(self, order: Whole) -> None:
        """Swap two loops of one level of each mapping."""
        dims, many = order.shape[1:]
        columns = np.arange(many)
        level = self.generator.integers(self.depth, size=many)
        one, other = self.generator.integers(dims, size=(2, many))
        other = np.where(self.generator.random(many) < 0.6, other, one)
        first, second = order[level, one, columns], order[level, other, columns]
        order[level, one, columns], order[level, other, columns] = second, first


def _prime_table(most: int) -> Whole:
    """The smallest prime factor of each number up to ``most``; 1 of 0 and 1."""
    table = np.arange(most + 1)
    table[:1] = 1
    for number in range(2, int(most**0.5) + 1):
        if table[number] == number:
            multiples = table[number * number :: number]
            multiples[multiples == np.arange(number * number, most + 1, number)] = number
    return table
