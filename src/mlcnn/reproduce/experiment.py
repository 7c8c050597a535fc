"""The paper's evaluation: the fused layers of four networks, and the networks whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mlcnn.accelerators import (
    DEFAULT_TECHNOLOGY,
    Evaluation,
    LayerTask,
    Machine,
    Summary,
    Technology,
    compare,
    load_accelerator,
    load_technology,
)
from mlcnn.accelerators.array import Array, filling, load_array
from mlcnn.reproduce.paper_networks import PAPER_NETWORKS, paper_tasks

__all__ = [
    "SENSITIVITY",
    "FusedLayers",
    "SweepPoint",
    "fused_layers_experiment",
    "fused_tasks",
    "sensitivity",
]


@dataclass(frozen=True, slots=True)
class FusedLayers:
    """One machine against one other, on the layers that the paper fuses.

    Attributes:
        accelerator: name of the machine.
        against: name of the other.
        technology: name of the tables.
        batch: images.
        comparison: the 22 layers, named ``network layer``.
        networks: each network whole, by name.
    """

    accelerator: str
    against: str
    technology: str
    batch: int
    comparison: Evaluation
    networks: Mapping[str, Evaluation]

    @property
    def summary(self) -> Summary:
        """Over the fused layers."""
        return self.comparison.network

    def to_json(self) -> dict[str, object]:
        """Figures 13 and 15, and what stands beside them."""
        return {
            "accelerator": self.accelerator,
            "against": self.against,
            "technology": self.technology,
            "batch": self.batch,
            "summary": self.summary.to_json(),
            "layers": [row.to_json() for row in self.comparison.layers],
            "networks": {
                name: {
                    "speedup": whole.network.total_speedup,
                    "energy_ratio": whole.network.total_energy_ratio,
                }
                for name, whole in self.networks.items()
            },
        }


def fused_layers_experiment(
    batch: int = 16,
    accelerators: Sequence[str] = ("mlcnn-fp32", "mlcnn-fp16", "mlcnn-int8"),
    against: Sequence[str] = ("dcnn-fp32", "winograd-f2-fp32", "winograd-f4-fp32"),
    technology: str = DEFAULT_TECHNOLOGY,
    *,
    networks: bool = True,
    fill_area_um2: float | None = None,
) -> tuple[FusedLayers, ...]:
    """Every accelerator against every other, on the 22 fused layers ([MLCNN] Figs. 13 and 15).

    Args:
        batch: images.
        accelerators: names or paths.
        against: names or paths.
        technology: name or path.
        networks: also the networks whole.
        fill_area_um2: give every machine as many slices as fit this area instead of its own; its
            name then says how many. The paper's Table VII has 1.52 mm2.
    """
    tables = load_technology(technology)
    tasks = fused_tasks(batch)

    def load(name: str) -> Machine:
        if fill_area_um2 is None:
            return load_accelerator(name)
        return filling(load_array(name), fill_area_um2, tables)

    machines, others = [load(name) for name in accelerators], [load(name) for name in against]
    return tuple(
        FusedLayers(
            machine.name,
            other.name,
            tables.name,
            batch,
            compare(tasks, machine, other, tables, batch=batch),
            _whole(batch, machine, other, tables) if networks else {},
        )
        for machine in machines
        for other in others
    )


def fused_tasks(batch: int) -> tuple[LayerTask, ...]:
    """The fused layers of all four networks, named ``network layer``."""
    return tuple(
        task.with_nest(replace(task.nest, name=f"{network} {task.layer.name}"))
        for network in PAPER_NETWORKS
        for task in paper_tasks(network, batch, fused_only=True)
    )


def _whole(
    batch: int, machine: Machine, other: Machine, tables: Technology
) -> dict[str, Evaluation]:
    return {
        network: compare(paper_tasks(network, batch), machine, other, tables, batch=batch)
        for network in PAPER_NETWORKS
    }


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One point of the sensitivity plot.

    Attributes:
        parameter: what was changed.
        value: to what.
        accelerator: the machine.
        speedup: arithmetic mean over the fused layers.
        energy_ratio: arithmetic mean over the fused layers.
        worst_speedup: least of any layer.
    """

    parameter: str
    value: float
    accelerator: str
    speedup: float
    energy_ratio: float
    worst_speedup: float


SENSITIVITY: Mapping[str, tuple[float, ...]] = {
    "batch": (1, 2, 4, 8, 16, 32),
    "dram_bytes_per_cycle": (8, 16, 32, 64),
    "dram_pj_per_bit": (1, 2, 3.92, 8, 14, 20),
    "multipliers": (4, 8, 16),
    "input_adders_share": (0.0625, 0.125, 0.25, 0.5, 1),
}
"""Parameter -> values of the sensitivity sweep; all else as in the library, at batch 16.

``multipliers`` are those of a slice, and ``input_adders_share`` is a share of the library's adders
of the input unit; a sixteenth is the 2 adders of the paper's addition-reuse unit, at FP32."""


def sensitivity(
    accelerators: Sequence[str] = ("mlcnn-fp32", "mlcnn-fp16", "mlcnn-int8"),
    against: str = "dcnn-fp32",
    technology: str = DEFAULT_TECHNOLOGY,
    values: Mapping[str, Sequence[float]] = SENSITIVITY,
    *,
    batch: int = 16,
) -> tuple[SweepPoint, ...]:
    """Speed-up and energy ratio of the fused layers against one parameter at a time.

    The parameter changes in both machines.

    Args:
        accelerators: names or paths.
        against: name or path.
        technology: name or path.
        values: parameter -> values; see ``SENSITIVITY`` for the parameters.
        batch: images, where the batch is not what changes.
    """
    tables, other = load_technology(technology), load_array(against)
    points: list[SweepPoint] = []
    for name in accelerators:
        machine = load_array(name)
        for parameter, amounts in values.items():
            for amount in amounts:
                images = int(amount) if parameter == "batch" else batch
                tasks = fused_tasks(images)
                changed = tables.with_dram(amount) if parameter == "dram_pj_per_bit" else tables
                pair = [_changed(one, parameter, amount) for one in (machine, other)]
                summary = compare(tasks, pair[0], pair[1], changed, batch=images).network
                points.append(
                    SweepPoint(
                        parameter,
                        amount,
                        machine.name,
                        summary.speedup,
                        summary.energy_ratio,
                        summary.worst_speedup,
                    )
                )
    return tuple(points)


def _changed(machine: Array, parameter: str, amount: float) -> Array:
    if parameter == "dram_bytes_per_cycle":
        return replace(machine, dram_bytes_per_cycle=amount)
    if parameter == "multipliers":
        return replace(machine, multipliers=int(amount))
    if parameter == "input_adders_share":
        return replace(machine, input_adders=round(machine.input_adders * amount))
    return machine
