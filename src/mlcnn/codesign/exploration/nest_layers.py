"""A network's layers as loop nests: bounds on many machines at once, and the price of one.

The bounds (``mlcnn.codesign.bounds``) take no search: a network's energy and latency on thousands
of designs in seconds. Where the memories are not tiny, they are a few per cent below the optimum.

A layer may have two forms: the convolution, and the one with the expanded kernel, that has the
pool behind it in it. Each runs in the form of the smaller E + w * D, where w is what the network's
energy over its latency comes to with just these forms, as a machine of ``mlcnn evaluate`` has it.
"""

import hashlib
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlcnn.codesign.architecture import Architecture, Level, Operand
from mlcnn.codesign.bounds import demand, lower_bound
from mlcnn.codesign.conventions import EXACT, Convention
from mlcnn.codesign.enumeration import Weighted
from mlcnn.codesign.exploration.evaluation import Evaluation, Unfinished, evaluate_network
from mlcnn.codesign.exploration.pricing import Array, Bounds
from mlcnn.codesign.layer_searches import LayerGroup, grouped
from mlcnn.codesign.mapper import find_mapping
from mlcnn.codesign.space import accesses
from mlcnn.errors import InfeasibleError
from mlcnn.workload import LoopNest, NestForm

__all__ = ["LoopNests"]

_CLOSE = 1e-9
_OTHER = {NestForm.PLAIN: NestForm.EXPANDED, NestForm.EXPANDED: NestForm.PLAIN}


@dataclass(frozen=True, slots=True)
class LoopNests:
    """A network's layers as loop nests; see ``Network``.

    Attributes:
        groups: its layers, identical ones together.
        rule: what is counted.
        expanded: for each group the nest of another form of its layers; None for none.
    """

    groups: tuple[LayerGroup, ...]
    rule: Convention = EXACT
    expanded: tuple[LoopNest | None, ...] = ()

    @classmethod
    def of(cls, forms: Sequence[tuple[LoopNest, LoopNest | None]], rule: Convention) -> "LoopNests":
        """Those of layers of which some have another form.

        Args:
            forms: for each layer the nest of the convolution, and that of the expanded kernel.
            rule: what is counted.
        """
        groups: list[LayerGroup] = []
        expanded: list[LoopNest | None] = []
        others = [None if other is None else replace(other, name="") for _, other in forms]
        for other in dict.fromkeys(others):
            same = [one for (one, _), mine in zip(forms, others, strict=True) if mine == other]
            found = grouped(same)
            groups.extend(found)
            expanded.extend(other for _ in found)
        return cls(tuple(groups), rule, tuple(expanded))

    @property
    def digest(self) -> str:
        """See ``Network``."""
        content = repr(
            ([(replace(one.nest, name=""), len(one.names)) for one in self.groups], self.expanded)
        )
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def counted(self) -> str:
        """See ``Network``."""
        return self.rule.name

    def bounds(self, machines: Sequence[Architecture]) -> Bounds:
        """See ``Network``."""
        layers = [
            ([one.nest, *([] if other is None else [other])], len(one.names))
            for one, other in zip(self.groups, self._others, strict=True)
        ]
        return Bounds(*_sums(machines, layers))

    def refusal(self, machine: Architecture) -> str:
        """See ``Network``: whether a nest fits, only the search tells."""
        del machine
        return ""

    def price(
        self,
        machine: Architecture,
        *,
        like: Sequence[Evaluation] = (),
        seconds: Callable[[], float],
    ) -> Evaluation:
        """See ``Network``: every layer by its best mapping, and in its best form."""
        if not any(self._others):
            return evaluate_network(self.groups, machine, self.rule, like=like, seconds=seconds)
        forms = [NestForm.PLAIN if one is None else NestForm.EXPANDED for one in self._others]
        try:
            best = self._in(forms, machine, like, seconds)
        except InfeasibleError:
            forms = [NestForm.PLAIN] * len(forms)
            best = self._in(forms, machine, like, seconds)
        while True:  # each round's product is smaller, see ``mlcnn.codesign.network``
            weight = best.energy_pj / best.latency_cycles
            turned = [self._turned(n, best, machine, weight, seconds) for n in range(len(forms))]
            forms = [_OTHER[f] if turn else f for f, turn in zip(forms, turned, strict=True)]
            found = self._in(forms, machine, [best, *like], seconds) if any(turned) else best
            if found.edp >= best.edp:
                return replace(best, edp_bound=self._edp_bound(machine))
            best = found

    @property
    def _others(self) -> tuple[LoopNest | None, ...]:
        return self.expanded or (None,) * len(self.groups)

    def _in(
        self, forms: Sequence[NestForm], machine: Architecture, like: Sequence[Evaluation],
        seconds: Callable[[], float],
    ) -> Evaluation:  # fmt: skip
        """The network with each group in a form."""
        groups = [self._group(number, form) for number, form in enumerate(forms)]
        found = evaluate_network(groups, machine, self.rule, like=like, seconds=seconds)
        told = [
            replace(layer, form="" if other is None else form.value)
            for layer, other, form in zip(found.layers, self._others, forms, strict=True)
        ]
        return replace(found, layers=tuple(told))

    def _group(self, number: int, form: NestForm) -> LayerGroup:
        group, other = self.groups[number], self._others[number]
        if form is NestForm.PLAIN or other is None:
            return group
        return LayerGroup(replace(other, name=group.nest.name), group.names)

    def _turned(
        self, number: int, found: Evaluation, machine: Architecture, weight: float,
        seconds: Callable[[], float],
    ) -> bool:  # fmt: skip
        """Whether a layer has a smaller weighted sum in its other form."""
        layer = found.layers[number]
        if not layer.form:
            return False
        group = self._group(number, _OTHER[NestForm(layer.form)])
        mine = layer.energy_pj + weight * layer.latency_cycles
        bound = lower_bound(group.nest, machine)
        if bound.energy_pj + weight * bound.latency_cycles >= mine:
            return False
        other = _weighted(group, machine, self.rule, weight, seconds)
        return other is not None and other < mine * (1 - _CLOSE)

    def _edp_bound(self, machine: Architecture) -> float:
        """Of all choices of forms."""
        bounds = self.bounds([machine])
        return float(bounds.energy_pj[0] * bounds.latency_cycles[0])


def _weighted(
    group: LayerGroup, machine: Architecture, rule: Convention, weight: float,
    seconds: Callable[[], float],
) -> float | None:  # fmt: skip
    """The least weighted sum of a layer; None where it fits in no way.

    Raises:
        Unfinished: there was not time enough.
    """
    left = seconds()
    if left <= 0:
        raise Unfinished
    try:
        found = find_mapping(group.nest, machine, Weighted(weight), rule, budget_s=left)
    except InfeasibleError:
        if seconds() <= 0:
            raise Unfinished from None
        return None
    if not found.optimal:
        raise Unfinished
    return float(found.score.energy_pj[0] + weight * found.score.latency_cycles[0])


def _sums(
    machines: Sequence[Architecture], layers: Sequence[tuple[Sequence[LoopNest], int]]
) -> tuple[Array, Array, Array, Array]:
    """Least energy and latency of all layers together on every machine, and likely ones.

    Args:
        machines: they.
        layers: the nests of each in all of its forms, and how many there are of it.
    """
    energy, latency, likely_energy, likely_latency = np.zeros((4, len(machines)))
    alike: dict[Hashable, list[int]] = {}
    for number, machine in enumerate(machines):
        alike.setdefault(_but_for_energy(machine), []).append(number)
    for numbers in alike.values():
        some = [machines[number] for number in numbers]
        read, write = _by_level(some, _read_pj), _by_level(some, _write_pj)
        words = np.array([_words(machine) for machine in some])
        for nests, count in layers:
            forms = [_least(one, some, (read, write), words) for one in nests]
            least = np.min(forms, 0)
            for total, part in zip((energy, latency, likely_energy, likely_latency), least,
                                   strict=True):  # fmt: skip
                total[numbers] += count * part
    # Sums in another order may be a few units in the last place above; bounds must not be.
    return energy * (1 - 1e-12), latency, likely_energy, likely_latency


def _least(
    nest: LoopNest, machines: Sequence[Architecture], pj: tuple[Array, Array], words: Array
) -> tuple[Array, Array, Array, Array]:
    """The same of one layer on machines that are alike but for their energies and capacities."""
    needed = demand(nest, machines[0])
    least = needed.energy_pj(*pj, machines[0].mac_energy_pj)
    bandwidth = machines[0].levels[0].shared_bandwidth or math.inf
    once = float(sum(needed.words))
    traffic = _traffic(nest, words)
    # Where memories are large, little more than every word moves, and once.
    more = traffic * np.minimum(traffic / once, 1.0) ** 2
    latency = np.full(len(machines), needed.latency_cycles)
    likely_latency = np.maximum(latency, (once + more) / bandwidth)
    return least, latency, least + more * pj[0][0], likely_latency


def _words(machine: Architecture) -> float:
    """Words that all memories but the outermost have for an operand: the geometric mean."""
    words = dict.fromkeys(Operand, 1.0)
    for number, level in enumerate(machine.levels[1:], 1):
        for operand in level.keeps:
            words[operand] += machine.instances(number) * (level.words or math.inf)
    return math.prod(words.values()) ** (1 / len(words))


def _traffic(nest: LoopNest, words: Array) -> Array:
    """Words that a convolution moves from and to the outermost level, roughly.

    Twice the products over the root of the words on the chip and of how often a window uses a
    word (Chen et al., "Communication lower bound in convolution accelerators", HPCA 2020).
    """
    reuse = 1.0
    for axis in accesses(nest)[1].windows:
        reuse *= max(nest.sizes[axis.taps] / axis.stride, 1.0)
    return 2.0 * nest.macs / np.sqrt(np.maximum(reuse * words, 1.0))


def _by_level(machines: Sequence[Architecture], of: Callable[[Level], float]) -> Array:
    return np.array([[of(level) for level in machine.levels] for machine in machines]).T


def _read_pj(level: Level) -> float:
    return level.read_pj


def _write_pj(level: Level) -> float:
    return level.write_pj


def _but_for_energy(machine: Architecture) -> Hashable:
    """All that the demand of a nest depends on."""
    outermost = machine.levels[0]
    return (
        outermost.read_bandwidth,
        outermost.write_bandwidth,
        outermost.shared_bandwidth,
        machine.mac_energy_pj,
        tuple((level.keeps, level.fan_out.size, level.fan_out.dims) for level in machine.levels),
    )
