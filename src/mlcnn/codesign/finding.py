"""The mapper as commands and machines call it: what is asked for, and what is known of the answer.

All that is known here of the mapper's interface stands in ``_search`` and ``find_weighted``.
"""

import time
from dataclasses import dataclass, field
from enum import StrEnum

from mlcnn.codesign.architecture import Architecture, Operand
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.bounds import lower_bound
from mlcnn.codesign.breakdown import Breakdown, break_down
from mlcnn.codesign.checking import misfits
from mlcnn.codesign.conventions import EXACT, Convention
from mlcnn.codesign.counts import check_exact
from mlcnn.codesign.enumeration import Objective
from mlcnn.codesign.mapper import Mapped, find_mapping
from mlcnn.codesign.mapping import LevelLoops, Mapping
from mlcnn.errors import InfeasibleError, UnsupportedError
from mlcnn.workload import LoopNest

__all__ = ["Factors", "Found", "Search", "Weighted", "find", "find_weighted"]


class Factors(StrEnum):
    """Which factors a dimension may be split into."""

    PERFECT = "perfect"
    """Those whose product is the dimension."""
    PADDED = "padded"
    """Also those whose product exceeds it: the rest is work on padding."""

    @property
    def told(self) -> str:
        """The space of mappings in words."""
        factors = {
            Factors.PERFECT: "all factors that multiply to their dimensions",
            Factors.PADDED: "all factors, those that pad their dimensions too",
        }
        return f"{factors[self]}, all orders of loops, all choices of what each level keeps"


@dataclass(frozen=True, slots=True)
class Weighted:
    """Energy plus so many pJ for a cycle, as what is made small.

    Attributes:
        pj_per_cycle: what a cycle counts as.
    """

    pj_per_cycle: float

    def of(self, energy_pj: float, latency_cycles: float) -> float:
        """Its value."""
        return energy_pj + self.pj_per_cycle * latency_cycles


@dataclass(frozen=True, slots=True)
class Search:
    """How to look for a mapping.

    Attributes:
        objective: what is made small.
        rule: what is counted.
        factors: of which mappings.
        budget_s: seconds after which the best so far is taken.
        seed: of what is drawn at random.
    """

    objective: Objective = Objective.EDP
    rule: Convention = EXACT
    factors: Factors = Factors.PERFECT
    budget_s: float = 60.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A mapping of one layer on one machine, and what is known of it.

    Attributes:
        nest: the layer.
        computed: what the mapping computes: the layer, or a larger one with its padding.
        architecture: the machine.
        search: what was asked for.
        mapped: the mapper's answer.
        seconds: of processor time.
    """

    nest: LoopNest
    computed: LoopNest
    architecture: Architecture
    search: Search
    mapped: Mapped = field(repr=False)
    seconds: float

    @property
    def breakdown(self) -> Breakdown:
        """Its cost in parts."""
        mapped = self.mapped
        return break_down(
            self.computed, self.architecture, mapped.batch, mapped.score, self.search.rule
        )

    @property
    def text(self) -> str:
        """The mapping in one line."""
        return self.mapped.mapping.text(self.architecture)

    @property
    def latency_cycles(self) -> float:
        """Cycles."""
        return float(self.mapped.score.latency_cycles[0])

    @property
    def energy_pj(self) -> float:
        """Energy."""
        return float(self.mapped.score.energy_pj[0])

    @property
    def edp(self) -> float:
        """Energy times latency, pJ x cycles."""
        return self.energy_pj * self.latency_cycles

    @property
    def utilisation(self) -> float:
        """Share of all units' cycles that products of the layer take, without padding."""
        units = self.architecture.instances(len(self.architecture.levels))
        return self.nest.macs / (self.latency_cycles * units)


def find(nest: LoopNest, architecture: Architecture, search: Search) -> Found:
    """The best mapping of a layer, or the best so far.

    Args:
        nest: the layer.
        architecture: the machine.
        search: how to look.

    Raises:
        InfeasibleError: nothing fits: operand, level, demand, capacity and what would help.
        InputError: counts are beyond what float64 holds exactly.
        UnsupportedError: the nest is of no form that is scored.
    """
    check_exact(nest, float(nest.macs))
    begun = time.process_time()
    try:
        mapped = _search(nest, architecture, search)
    except InfeasibleError as error:
        raise _nothing_fits(nest, architecture, search.rule, error) from error
    computed = getattr(mapped, "nest", None) or nest
    return Found(nest, computed, architecture, search, mapped, time.process_time() - begun)


def _search(nest: LoopNest, architecture: Architecture, search: Search) -> Mapped:
    if search.factors is Factors.PADDED:
        raise UnsupportedError(
            f"{nest.name}: padded factors are not searched yet; use --factors {Factors.PERFECT}"
        )
    return find_mapping(
        nest, architecture, search.objective, search.rule,
        budget_s=search.budget_s, seed=search.seed,
    )  # fmt: skip


def _nothing_fits(
    nest: LoopNest, architecture: Architecture, rule: Convention, error: InfeasibleError
) -> InfeasibleError:
    """Why nothing fits, where that is known: what even the outermost level cannot hold."""
    loops = tuple(zip(nest.dims, nest.sizes, strict=True))
    inner = (LevelLoops((), (), ()) for _ in architecture.levels[1:])
    outermost = Mapping((LevelLoops(loops, (), tuple(Operand)), *inner))
    wrong = misfits(nest, architecture, Batch.of([outermost], nest), rule)
    if not wrong:
        return error
    return InfeasibleError(
        f"{nest.name} on {architecture.name}: no mapping fits, since the outermost level holds "
        f"every operand whole: {wrong[0]}; {wrong[0].lever}"
    )


def find_weighted(
    nest: LoopNest, architecture: Architecture, search: Search, weight: Weighted
) -> tuple[Found | None, float]:
    """The mapping of least energy plus so many pJ for a cycle, and what none is below.

    The mapper minimises no sums yet: there is no mapping, only the bound.

    Args:
        nest: the layer.
        architecture: the machine.
        search: how to look; its objective is not used.
        weight: what a cycle counts as.

    Returns:
        The mapping, or None, and the bound in pJ.
    """
    del search
    bound = lower_bound(nest, architecture)
    return None, weight.of(bound.energy_pj, bound.latency_cycles)
