"""A network's layers on arrays: cycles of many at once, and the price of one.

The tiling of a layer is the array's own. Where a pool can be fused, each layer has several ways,
and those are chosen so that the energy of all layers times their latency is least; then they are
what each layer comes to by itself where a cycle counts as energy over latency, so that this one
number (``mapping_pj_per_cycle``) is all that a design's file has to say of them. Where nothing but
the latency is asked for, each layer runs in the fastest way, as without that number.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from mlcnn.accelerators import LayerCost, LayerTask, Technology
from mlcnn.accelerators.array import Array, costs_of, least_energy, preferred, sweep_cycles
from mlcnn.accelerators.machine import plain_parts
from mlcnn.codesign.exploration.evaluation import Evaluation, LayerMapping, Unfinished
from mlcnn.codesign.exploration.pricing import Bounds
from mlcnn.codesign.network import Minimum, Point, Weights, least_product
from mlcnn.errors import UnsupportedError
from mlcnn.workload import ConvLayer

__all__ = ["ArrayLayers", "TaskGroup"]

_MOST_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class TaskGroup:
    """Layers that are alike.

    Attributes:
        task: the first of them.
        names: of all.
    """

    task: LayerTask
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArrayLayers:
    """A network's layers as arrays run them; see ``Network``.

    Attributes:
        groups: its layers, identical ones together.
        technology: tables of energy and area.
        fastest: whether every layer runs in the fastest way, whatever its energy.
    """

    groups: tuple[TaskGroup, ...]
    technology: Technology
    fastest: bool = False

    @classmethod
    def of(
        cls, tasks: Iterable[LayerTask], machine: Array, technology: Technology, template: str
    ) -> "ArrayLayers":
        """Those of a network.

        Args:
            tasks: its layers.
            machine: one of the arrays: none knows more kinds of layers than another.
            technology: tables of energy and area.
            template: its name, for messages.

        Raises:
            UnsupportedError: a layer can run on no array, of whatever size.
        """
        groups: dict[tuple[ConvLayer, bool, bool], list[LayerTask]] = {}
        for task in tasks:
            for one in _known(task, machine, template):
                nest = replace(one.nest, name="")
                groups.setdefault((nest, one.scaled, one.sole_consumer), []).append(one)
        return cls(
            tuple(TaskGroup(same[0], tuple(t.nest.name for t in same)) for same in groups.values()),
            technology,
        )

    @property
    def digest(self) -> str:
        """See ``Network``."""
        content = repr(
            [
                (replace(one.task.nest, name=""), one.task.scaled, one.task.sole_consumer,
                 len(one.names))
                for one in self.groups
            ]
        )  # fmt: skip
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def counted(self) -> str:
        """See ``Network``."""
        return self.technology.name

    def bounds(self, machines: Sequence[Array]) -> Bounds:
        """See ``Network``.

        The cycles are those of the fastest way and tiling of every layer. What is chosen has more
        where that moves fewer bytes (1 % at most), or where a slower way has less energy.
        """
        pairs = [(one.task, len(one.names)) for one in self.groups]
        counts = [count for _, count in pairs]
        cycles = sweep_cycles([task for task, _ in pairs], machines) @ counts
        energy = least_energy(pairs, machines, cycles, self.technology)
        return Bounds(energy, cycles * (1 - 1e-12), energy, cycles)

    def refusal(self, machine: Array) -> str:
        """See ``Network``."""
        reasons = (machine.takes(one.task.layer) for one in self.groups)
        return next((str(why) for why in reasons if why is not None), "")

    def price(
        self, machine: Array, *, like: Sequence[Evaluation] = (), seconds: Callable[[], float]
    ) -> Evaluation:
        """See ``Network``; the bound is that of other ways with the tilings that they have."""
        del like
        if seconds() <= 0:
            raise Unfinished
        if self.fastest:
            costs = [machine.cost(one.task, self.technology) for one in self.groups]
            return self._evaluation(costs, machine, 0.0)
        found = [costs_of(one.task, machine, self.technology) for one in self.groups]
        best = least_product(lambda weights: self._minimum(found, weights))
        chosen = [ways[number] for ways, number in zip(found, best.point.choice, strict=True)]
        for _ in range(_MOST_ROUNDS):  # until energy over latency chooses what it comes from
            point = self._sum(chosen)
            weight = point.energy / point.latency
            again = [preferred(ways, weight) for ways in found]
            if again == chosen:
                break
            chosen = again
        return self._evaluation(chosen, machine, best.bound)

    def _evaluation(
        self, chosen: Sequence[LayerCost], machine: Array, edp_bound: float
    ) -> Evaluation:
        layers = tuple(
            LayerMapping(
                group.names, _text(cost), cost.energy.total, cost.cycles, cost.execution,
                machine.precision.value,
            )
            for group, cost in zip(self.groups, chosen, strict=True)
        )  # fmt: skip
        area = machine.area(self.technology)
        return Evaluation(layers, edp_bound, machine.clock_mhz, area)

    def _minimum(self, found: Sequence[Sequence[LayerCost]], weights: Weights) -> Minimum:
        """The ways of the least weighted sum."""
        choice = tuple(
            min(range(len(ways)), key=lambda n, w=ways: weights.of(_point(w[n]))) for ways in found
        )
        point = self._sum([ways[number] for ways, number in zip(found, choice, strict=True)])
        return Minimum(replace(point, choice=choice), weights.of(point))

    def _sum(self, chosen: Sequence[LayerCost]) -> Point:
        pairs = [(len(one.names), cost) for one, cost in zip(self.groups, chosen, strict=True)]
        return Point(
            math.fsum(count * cost.energy.total for count, cost in pairs),
            math.fsum(count * cost.cycles for count, cost in pairs),
        )


def _point(cost: LayerCost) -> Point:
    return Point(cost.energy.total, cost.cycles)


def _text(cost: LayerCost) -> str:
    """A tiling in words."""
    tiling = cost.mapping["tiling"]
    sizes = tiling.items() if isinstance(tiling, dict) else ()
    return " ".join(f"{name}={size}" for name, size in sizes)


def _known(task: LayerTask, machine: Array, template: str) -> Iterator[LayerTask]:
    """A layer, or the plain ones that stand for it, as ``evaluate_layer`` has it.

    Raises:
        UnsupportedError: arrays know neither.
    """
    refused = machine.unknown(task.layer)
    if refused is None:
        yield task
        return
    parts = plain_parts(task.layer) if refused.unknown else ()
    reasons = [machine.unknown(part) for part in parts] or [refused]
    if (why := next((one for one in reasons if one is not None), None)) is not None:
        raise UnsupportedError(
            f"template {template} cannot run layer {task.layer.name} on any size: it has "
            f"{why.unit}, and an array multiplies dense weights; mlcnn evaluate runs it on a "
            "machine that takes it"
        )
    yield from (replace(task, layer=part) for part in parts)
