"""Energy of single images: of layers, of layers of fewer channels, and of what chooses these."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby

import onnx_ir as ir

from mlcnn.accelerators import (
    LayerTask,
    Machine,
    Precision,
    Technology,
    evaluate_layer,
    network_tasks,
    precision_of,
)
from mlcnn.api.benchmarking import fixed_batch
from mlcnn.api.evaluation import DEFAULT_BATCH, Machines
from mlcnn.workload import Layer

__all__ = ["Energy", "choosing_pj", "tables_pj"]

_EXPONENTIAL = 4
"""Products, and as many sums, that stand for an exponential."""


@dataclass(frozen=True, slots=True, eq=False)
class Energy:
    """Energy in pJ of a layer for one image on a machine.

    Attributes:
        machine: the machine.
        technology: its tables.
        tasks: what it runs for each layer, by the layer's name.
        batch: images that run together.
    """

    machine: Machine
    technology: Technology
    tasks: Mapping[str, tuple[LayerTask, ...]]
    batch: int
    _found: dict[tuple[str, int, int], float] = field(default_factory=dict)

    @classmethod
    def of(cls, whole: ir.Model, machine: Machine, machines: Machines) -> "Energy":
        """Of a network without branches.

        Raises:
            UnsupportedError: a layer's sizes are not known.
        """
        batch = fixed_batch(whole) or machines.batch or DEFAULT_BATCH
        tasks = sorted(network_tasks(whole, batch=batch), key=lambda task: task.layer.name)
        named = {name: tuple(each) for name, each in groupby(tasks, lambda task: task.layer.name)}
        return cls(machine, machines.technology, named, batch)

    def __call__(self, layer: Layer) -> float:
        """Of a layer of the network, or of one of other numbers of channels.

        Raises:
            InfeasibleError: the machine cannot run it.
        """
        key = layer.name, layer.nest.K, layer.nest.C
        if key not in self._found:
            tasks = [_with_channels(task, layer) for task in self.tasks[layer.name]]
            costs = (evaluate_layer(task, self.machine, self.technology) for task in tasks)
            self._found[key] = sum(cost.energy.total for cost in costs) / self.batch
        return self._found[key]


def _with_channels(task: LayerTask, layer: Layer) -> LayerTask:
    wanted = layer.nest.K, layer.nest.C
    if not layer.channels or wanted == (task.nest.K, task.nest.C):
        return task
    return replace(task, layer=task.layer.of_channels(*wanted))


def choosing_pj(machine: Machine, technology: Technology, classes: int, values: int) -> float:
    """What a head takes beside its layer: sums of regions, softmax, and which classes lead.

    Args:
        machine: that computes it.
        technology: its tables.
        classes: every one is compared with every other one.
        values: that the regions' sums take in.
    """
    costs = technology.operations[precision_of(machine) or Precision.FP32]
    softmax = _EXPONENTIAL * classes * (costs.multiply.energy_pj + costs.add.energy_pj)
    return softmax + (values + classes**2) * costs.add.energy_pj


def tables_pj(technology: Technology, classes: int, channels: int) -> float:
    """Masks of all classes, a bit for a channel, from DRAM through a register, and their union."""
    each = technology.dram.pj_per_bit + 2 * technology.register.energy_pj_per_bit
    return classes * channels * each
