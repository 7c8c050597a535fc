"""Table VII of [MLCNN]: the accelerators compared, beside those of the library."""

from collections.abc import Mapping

from mlcnn.accelerators import DEFAULT_TECHNOLOGY, Technology, load_technology
from mlcnn.accelerators.array import Array, area, filling, load_array
from mlcnn.reproduce.experiment import fused_layers_experiment
from mlcnn.reproduce.reproduction import (
    Beside,
    Number,
    Reproduction,
    Tell,
    compared,
    published_rows,
)

__all__ = ["reproduce_configurations"]

_BATCH = 16
_MACHINES = ("mlcnn-fp32", "mlcnn-fp16", "mlcnn-int8")
_AGAINST = ("dcnn-fp32", "dcnn-fp16", "dcnn-int8", "winograd-f2-fp32", "winograd-f4-fp32")
_UM2_PER_MM2 = 1e6
_TABLE_VII_MM2 = 1.52


def reproduce_configurations(what: str, tell: Tell) -> Reproduction:
    """Reproduce ``table-7``."""
    technology = load_technology()
    rows = tuple(compared(row, _computed(row, technology)) for row in published_rows(what))
    tell(what, 1, 2)
    beside = _machines(technology), _filling()
    return Reproduction(what, rows, technology.name, beside)


def _computed(published: Mapping[str, str], technology: Technology) -> Number:
    machine = load_array(published["accelerator"])
    match published["quantity"]:
        case "slices":
            return machine.slices
        case "bits":
            return machine.precision.bits
        case "memory":
            return machine.on_chip_bytes // 1024
        case _:
            return area(machine, technology).total / _UM2_PER_MM2


def _machines(technology: Technology) -> Beside:
    machines = [load_array(name) for name in (*_MACHINES, *_AGAINST)]
    return Beside(
        f"machines of the library; area in {technology.name}, without control, clock tree, wires",
        (
            "accelerator",
            "slices",
            "multipliers",
            "memory, kB",
            "logic, mm2",
            "memories, mm2",
            "area, mm2",
        ),
        tuple(_machine(machine, technology) for machine in machines),
    )


def _machine(machine: Array, technology: Technology) -> tuple[str | Number, ...]:
    taken = area(machine, technology)
    return (
        machine.name,
        machine.slices,
        machine.multiplications_per_cycle,
        machine.on_chip_bytes // 1024,
        taken.logic / _UM2_PER_MM2,
        (taken.total - taken.logic) / _UM2_PER_MM2,
        taken.total / _UM2_PER_MM2,
    )


def _filling() -> Beside:
    """Machines of Table VII's area instead of its slices."""
    technology, area_um2 = load_technology(), _TABLE_VII_MM2 * _UM2_PER_MM2
    results = fused_layers_experiment(
        _BATCH, _MACHINES, ("dcnn-fp32",), networks=False, fill_area_um2=area_um2
    )
    machines = [filling(load_array(name), area_um2, technology) for name in _MACHINES]
    bandwidth = load_array("dcnn-fp32").dram_bytes_per_cycle
    return Beside(
        f"variant: as many slices as fill {_TABLE_VII_MM2} mm2 at every precision; means over the "
        f"fused layers, batch {_BATCH}, {bandwidth:g} DRAM bytes a cycle, {DEFAULT_TECHNOLOGY}",
        ("accelerator", "slices", "area, mm2", "against", "speed-up", "energy ratio"),
        tuple(
            (
                machine.name,
                machine.slices,
                area(machine, technology).total / _UM2_PER_MM2,
                result.against,
                result.summary.speedup,
                result.summary.energy_ratio,
            )
            for result, machine in zip(results, machines, strict=True)
        ),
    )
