"""A network on a machine where what runs depends on the image.

A layer behind a branch runs for the images that go there: its weights are fetched once for as many
of a batch as do, and not at all where none does. What decides is charged too: softmax and
comparisons, one after the other, the sums of a pool in front of a head, and at a batch the list of
the images that go on: their numbers, by which layers find their inputs, so that nothing is copied.
No machine here leaves out single positions of a layer, so a mask of positions saves nothing.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import onnx_ir as ir

from mlcnn.accelerators.cost import Extremes, LayerCost, LayerTask, Taken
from mlcnn.accelerators.machine import Machine, evaluate_layer, precision_of
from mlcnn.accelerators.network import require_tasks, tasks_of
from mlcnn.accelerators.precision import Precision
from mlcnn.accelerators.technology import Technology
from mlcnn.workload import Gate, Layer, Workload, read

__all__ = ["Conditional"]


@dataclass(frozen=True, slots=True, eq=False)
class Conditional:
    """Costs of the layers of all branches, and of what decides, for any number of images.

    Attributes:
        model: the network.
        machine: the machine.
        technology: the tables.
    """

    model: ir.Model
    machine: Machine
    technology: Technology
    _workloads: dict[int, Workload] = field(default_factory=dict)
    _tasks: dict[int, tuple[LayerTask, ...]] = field(default_factory=dict)
    _costs: dict[tuple[int, int], LayerCost] = field(default_factory=dict)

    def workload(self, images: int = 1) -> Workload:
        """The network for so many images."""
        if images not in self._workloads:
            self._workloads[images] = read(self.model, batch=images)
        return self._workloads[images]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Those that a machine runs, of all branches.

        Raises:
            InputError: there are none.
        """
        return tuple(task.layer for task in self._all(1))

    def layer(self, place: int, images: int) -> Taken:
        """What one of ``layers`` takes for so many images.

        Raises:
            InfeasibleError: the machine cannot run it.
        """
        if not images:
            return Taken()
        if (place, images) not in self._costs:
            task = self._all(images)[place]
            self._costs[place, images] = evaluate_layer(task, self.machine, self.technology)
        cost = self._costs[place, images]
        return Taken(cost.energy.total, cost.cycles)

    def gate(self, gate: Gate, images: int) -> Taken:
        """What it takes to decide for so many images.

        Args:
            gate: of one image.
            images: that it is asked for.
        """
        precision = precision_of(self.machine) or Precision.FP32
        costs, done = self.technology.costs(precision), gate.operations
        each = math.fsum(
            (
                done.multiplications * costs.multiply.energy_pj,
                (done.additions + gate.pooling) * costs.add.energy_pj,
            )
        )
        # Sums of a pool are formed while its input is written; the rest follows one by one.
        return Taken(images * each, images * (done.multiplications + done.additions))

    def listed(self, branch: str, images: int, batch: int) -> Taken:
        """The list of the images that take a branch: written once, and read by each of its layers.

        Args:
            branch: its name.
            images: that take it.
            batch: images of a batch; one image needs no list.
        """
        readers = sum(layer.condition == branch for layer in self.layers)
        bits = math.ceil(math.log2(batch)) * (1 + readers) if readers and batch > 1 else 0
        return Taken(images * bits * self.technology.register.energy_pj_per_bit)

    def extremes(self, batch: int) -> Extremes:
        """What a batch costs at most and at least.

        Raises:
            InfeasibleError: the machine cannot run a layer.
        """
        workload = self.workload()
        worst, least = (self._path(each, batch) for each in (workload.layers, workload.least))
        return Extremes(worst, least, batch, self.notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the machine makes of masks, where there are any."""
        name, notes = self.machine.name, list[str]()
        if any(layer.positions for layer in self.layers):
            notes.append(
                f"{name} computes a layer whole: it saves nothing where a mask of the image leaves "
                "out positions, and needs no list of them"
            )
        if any(layer.channels for layer in self.layers):
            notes.append(
                f"{name} is charged for all channels here; what it saves where a mask of the image "
                "leaves some out is told by mlcnn skip"
            )
        return tuple(notes)

    def _path(self, path: Iterable[Layer], batch: int) -> Taken:
        """All images take these layers, and what stands before them."""
        taken, places = tuple(path), {layer: index for index, layer in enumerate(self.layers)}
        conditions = {"", *(layer.condition for layer in taken)}
        found = sum(
            (self.layer(places[layer], batch) for layer in taken if layer in places), Taken()
        )
        for gate in self.workload().gates:
            if gate.condition in conditions:
                found += self.gate(gate, batch)
                for branch in conditions.intersection(gate.branches):
                    found += self.listed(branch, batch, batch)
        return found

    def _all(self, images: int) -> tuple[LayerTask, ...]:
        if images not in self._tasks:
            self._tasks[images] = tasks_of(self.workload(images).whole)
            require_tasks(self._tasks[images])
        return self._tasks[images]
