"""A loop-nest architecture as a machine of ``mlcnn.accelerators``: every layer by its best mapping.

A layer that is fused with a pool runs as the plain convolution, its pool left out as in the plain
execution of other machines, or with the expanded kernel: whichever has the smaller energy times
latency. Box sums would need a unit that forms them, which such an architecture has not.

Energy is that of accesses and products; leakage is not known, so it is 0. A word is as wide as the
levels' words, however few bits a layer's numbers have.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import fsum, nan

from mlcnn.accelerators.border import Description
from mlcnn.accelerators.cost import Energy, LayerCost, LayerTask, Traffic
from mlcnn.accelerators.machine import Infeasible, Machine, unknown_layer, unknown_parts
from mlcnn.accelerators.precision import Precision
from mlcnn.accelerators.technology import Technology
from mlcnn.codesign.architecture import Architecture, Operand
from mlcnn.codesign.breakdown import Breakdown
from mlcnn.codesign.enumeration import Weighted
from mlcnn.codesign.files import read_architecture
from mlcnn.codesign.finding import Found, Search, find, find_weighted
from mlcnn.errors import InfeasibleError, UnsupportedError
from mlcnn.workload import Arithmetic, ConvLayer, Layer, LoopNest, NestForm, loop_nest

__all__ = ["BUDGET_S", "LoopNestFile", "LoopNestMachine"]

BUDGET_S = 10.0
"""Seconds for the mapping of a layer, where the file says nothing else."""
_SEARCH = Search(budget_s=BUDGET_S)


@dataclass(frozen=True, slots=True)
class LoopNestMachine:
    """A memory hierarchy under loop nests, each layer mapped for the least energy times latency.

    Attributes:
        architecture: its levels.
        search: how mappings are looked for; a layer is looked for once.
        weight: what a cycle counts as; then each layer is mapped for the least energy and latency
            so weighted, in place of the search's objective.
    """

    architecture: Architecture
    search: Search = _SEARCH
    weight: Weighted | None = None
    _known: dict[LoopNest, Found] = field(
        default_factory=dict[LoopNest, Found], compare=False, repr=False
    )

    @property
    def name(self) -> str:
        """See ``Machine``."""
        return self.architecture.name

    @property
    def clock_mhz(self) -> float:
        """See ``Machine``."""
        return self.architecture.clock_mhz

    @property
    def precision(self) -> Precision | None:
        """Integers as wide as the words of weights and inputs, where both are bytes; else None."""
        bits = self.architecture.levels[0].word_bits
        return Precision.INT8 if bits == Precision.INT8.bits else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Where its energy is from, and how well its layers are mapped."""
        search = self.search
        goal = (
            str(search.objective)
            if self.weight is None
            else f"energy + {self.weight.pj_per_cycle:.5g} pJ a cycle"
        )
        how = f"{goal}, {search.factors} factors, counted as {search.rule.name}"
        note = (
            f"{self.name}: energy by the constants of its own file, not by these tables, and no "
            "leakage; each layer by the best mapping found in "
            f"{search.budget_s:g} s at most ({how})"
        )
        return (note,)

    def takes(self, layer: Layer) -> Infeasible | None:
        """See ``Machine``: dense weights that are multiplied, what the outermost level can hold."""
        wanted = unknown_parts(layer, {Arithmetic.MULTIPLY})
        if wanted:
            does = "it runs loop nests of multiply-accumulates with dense weights"
            return unknown_layer(self.name, layer, wanted, does)
        try:
            self._best(layer.nest)
        except (InfeasibleError, UnsupportedError) as error:
            return Infeasible(f"accelerator {self.name} cannot run {layer.name}: {error}", 1, 0, "")
        return None

    def cost(self, task: LayerTask, technology: Technology) -> LayerCost:
        """See ``Machine``; the tables are not used, since the architecture has its own."""
        del technology
        if (why := self.takes(task.layer)) is not None:
            raise InfeasibleError(str(why))
        form, found = self._best(task.nest)
        return _cost(task.nest, form, found)

    def area(self, technology: Technology) -> float:
        """See ``Machine``: what the architecture says, by no table; not a number for nothing."""
        del technology
        known = self.architecture.area_um2
        return nan if known is None else known

    def _best(self, layer: ConvLayer) -> tuple[NestForm, Found]:
        found = [(form, self._found(nest)) for form, nest in _nests(layer)]
        return min(found, key=lambda one: self._worth(one[1]))

    def _worth(self, found: Found) -> float:
        if self.weight is None:
            return found.edp
        return found.energy_pj + self.weight.pj_per_cycle * found.latency_cycles

    def _found(self, nest: LoopNest) -> Found:
        """The mapping of a nest, whatever it is called."""
        key = replace(nest, name="")
        if key not in self._known:
            self._known[key] = (
                find(nest, self.architecture, self.search)
                if self.weight is None
                else find_weighted(nest, self.architecture, self.search, self.weight)
            )
        return self._known[key]


def _nests(layer: ConvLayer) -> Iterator[tuple[NestForm, LoopNest]]:
    """The forms in which a layer can run."""
    yield NestForm.PLAIN, loop_nest(layer)
    if layer.pool is not None:
        try:
            yield NestForm.EXPANDED, loop_nest(layer, NestForm.EXPANDED)
        except UnsupportedError:  # windows that are not whole, a dilation
            return


def _cost(layer: ConvLayer, form: NestForm, found: Found) -> LayerCost:
    parts = found.breakdown
    outputs = layer.N * layer.K * layer.pooled[0] * layer.pooled[1]
    is_plain = form is NestForm.PLAIN
    return LayerCost(
        name=layer.name,
        execution=form.value,
        cycles=found.latency_cycles,
        bound=parts.bound.level,
        utilisation=found.utilisation,
        multiplications=found.nest.macs,
        additions=layer.operations.additions if is_plain else found.nest.macs - outputs,
        traffic=_traffic(parts, found.architecture.levels[0].name),
        energy=_energy(parts, found.architecture.levels[0].name),
        fused=not is_plain,
        mapping={
            "mapping": found.text,
            "optimal": found.optimal,
            "gap": found.gap,
            "mapping_budget_s": found.search.budget_s,
            "convention": found.search.rule.name,
        },
    )


def _energy(parts: Breakdown, outermost: str) -> Energy:
    dram = fsum(one.energy_pj for one in parts.moved if one.level == outermost)
    chip = fsum(one.energy_pj for one in parts.moved if one.level != outermost)
    return Energy(dram=dram, buffer=chip, mac=parts.mac_energy_pj)


def _traffic(parts: Breakdown, outermost: str) -> Traffic:
    """Bytes of the outermost level, and of all others together; not rounded up to blocks."""

    def moved(operand: Operand, *, outside: bool) -> float:
        return fsum(
            one.words * one.word_bits / 8
            for one in parts.moved
            if one.operand is operand and (one.level == outermost) == outside
        )

    return Traffic(*(moved(one, outside=side) for side in (True, False) for one in Operand))


class LoopNestFile:
    """The type ``loop-nest`` of machines; what its files hold says ``files``."""

    @classmethod
    def from_description(cls, description: Description) -> Machine:
        """The machine that a file describes.

        Raises:
            InputError: the file is wrong.
        """
        architecture = read_architecture(description)
        budget = description.values.get("mapping_budget_s", BUDGET_S)
        weight = description.values.get("mapping_pj_per_cycle")
        return LoopNestMachine(
            architecture, Search(budget_s=budget), None if weight is None else Weighted(weight)
        )
