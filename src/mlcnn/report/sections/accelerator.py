"""The network on accelerators, against another one."""

from dataclasses import dataclass

from mlcnn.accelerators import Evaluation, LayerCost, Machine, Summary
from mlcnn.counting import Reuse, fused, original
from mlcnn.report.charts import ENERGY_PARTS, accelerator_charts
from mlcnn.report.evaluation import execution
from mlcnn.report.sections.section import Section
from mlcnn.report.summary import RunSummary
from mlcnn.report.wording import amount, area, figure, percent, plural, printable, ratio, removed

__all__ = ["accelerator"]


@dataclass(frozen=True, slots=True)
class Gain:
    """What a machine gains over the other, in words: time and energy."""

    speed: str
    energy: str
    note: str


@dataclass(frozen=True, slots=True)
class MachineRow:
    """One machine, in words; ``fused`` and the next two are None for the one compared with.

    Attributes:
        name: its name.
        area: in mm2.
        latency: of the batch.
        images: per second.
        fused: mean over the rewritten layers; None, too, where there are none.
        network: of the whole network.
        worst: of the layer with the least speed-up.
        equal: of the whole network, over a machine of equal precision.
    """

    name: str
    area: str
    latency: str
    images: str
    fused: Gain | None = None
    network: Gain | None = None
    worst: Gain | None = None
    equal: Gain | None = None


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One fused layer on one machine, in words.

    Attributes:
        layer: its name.
        machine: the machine's.
        execution: how it runs.
        bound: what sets most of the cycles.
        cycles: cycles.
        speedup: over the other machine; empty on it.
        energy: its parts as shares of the other machine's energy, and their sum.
    """

    layer: str
    machine: str
    execution: str
    bound: str
    cycles: str
    speedup: str
    energy: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OperationRow:
    """The operations of a fused layer, in words: before, after and the change."""

    layer: str
    multiplications: tuple[str, ...]
    additions: tuple[str, ...]
    paper: str


@dataclass(frozen=True, slots=True)
class Content:
    """What the section shows.

    Attributes:
        against: the machine compared with.
        technology: the tables.
        images: the batch, in words.
        layers: fused layers of all, in words; empty where none is fused.
        machines: one row for each, the machine compared with first.
        rows: every fused layer on every machine.
        operations: every fused layer.
    """

    against: str
    technology: str
    images: str
    layers: str
    machines: tuple[MachineRow, ...]
    rows: tuple[LayerRow, ...]
    operations: tuple[OperationRow, ...]


def _machine(
    machine: Machine, comparison: Evaluation, seconds: float, gains: tuple[Gain | None, ...]
) -> MachineRow:
    return MachineRow(
        printable(machine.name),
        f"{area(machine.area(comparison.technology))} mm\N{SUPERSCRIPT TWO}",
        f"{figure(seconds * 1e3)} ms",
        f"{comparison.batch / seconds:,.0f}",
        *gains,
    )


def _mean(found: Summary | None) -> Gain | None:
    if found is None:
        return None
    note = f"geometric {ratio(found.geometric_speedup)}, {ratio(found.geometric_energy_ratio)}"
    return Gain(ratio(found.speedup), ratio(found.energy_ratio), note)


def _equal(found: Evaluation | None) -> Gain | None:
    if found is None:
        return None
    whole, note = found.network, f"over {printable(found.against.name)}"
    return Gain(ratio(whole.total_speedup), ratio(whole.total_energy_ratio), note)


def _machines(evaluations: tuple[Evaluation, ...]) -> tuple[MachineRow, ...]:
    first = evaluations[0]
    rows = [_machine(first.against, first, first.against_seconds, ())]
    for found in evaluations:
        whole = found.network
        gains = (
            _mean(found.rewritten),
            Gain(ratio(whole.total_speedup), ratio(whole.total_energy_ratio), ""),
            Gain(
                ratio(whole.worst_speedup), ratio(whole.worst_energy_ratio), printable(whole.worst)
            ),
            _equal(found.equal_precision),
        )
        rows.append(_machine(found.accelerator, found, found.seconds, gains))
    return tuple(rows)


def _layer_row(
    name: str, machine: Machine, cost: LayerCost, against: LayerCost, *, how: str, speedup: str
) -> LayerRow:
    whole = against.energy.total
    shares = [getattr(cost.energy, part) / whole for part in ENERGY_PARTS]
    return LayerRow(
        printable(name),
        printable(machine.name),
        how,
        printable(cost.bound),
        f"{cost.cycles:,.0f}",
        speedup,
        tuple(map(percent, (*shares, cost.energy.total / whole))),
    )


def _layer_rows(evaluations: tuple[Evaluation, ...]) -> tuple[LayerRow, ...]:
    columns = [[row for row in found.layers if row.fused] for found in evaluations]
    rows: list[LayerRow] = []
    for same in zip(*columns, strict=True):
        first = same[0]
        rows.append(
            _layer_row(
                first.name,
                evaluations[0].against,
                first.against,
                first.against,
                how=execution(first, first.against),
                speedup="",
            )
        )
        rows += [
            _layer_row(
                row.name,
                found.accelerator,
                row.cost,
                row.against,
                how=execution(row, row.cost),
                speedup=ratio(row.speedup),
            )
            for row, found in zip(same, evaluations, strict=True)
        ]
    return tuple(rows)


def _operation_rows(comparison: Evaluation) -> tuple[OperationRow, ...]:
    rows: list[OperationRow] = []
    for row in comparison.layers:
        if not row.fused:
            continue
        layer = row.task.nest
        before, after = original(layer), fused(layer, Reuse.SHARED)
        multiplications = (before.multiplications, after.multiplications)
        additions = (before.additions, after.additions)
        paper = fused(layer, Reuse.PAPER).additions
        rows.append(
            OperationRow(
                printable(row.name),
                (*map(amount, multiplications), removed(*multiplications)),
                (*map(amount, additions), removed(*additions)),
                removed(before.additions, paper),
            )
        )
    return tuple(rows)


def accelerator(summary: RunSummary) -> Section | None:
    """The section; None where the network was not evaluated on an accelerator."""
    evaluations = summary.evaluations
    if not evaluations:
        return None
    first = evaluations[0]
    count = sum(row.fused for row in first.layers)
    content = Content(
        printable(first.against.name),
        printable(first.technology.name),
        plural(first.batch, "image"),
        f"{count} of {plural(len(first.layers), 'layer')}" if count else "",
        _machines(evaluations),
        _layer_rows(evaluations),
        _operation_rows(first),
    )
    charts = accelerator_charts(summary)
    return Section("accelerator", "Accelerator", "accelerator.html", content, charts)
