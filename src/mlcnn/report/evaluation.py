"""An evaluation on an accelerator for the terminal: narrow tables, one question each.

Names from a network are put in as plain text: they carry neither markup nor control characters.
"""

from collections.abc import Callable, Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlcnn.accelerators import (
    Energy,
    Evaluation,
    LayerComparison,
    LayerCost,
    Machine,
    Summary,
)
from mlcnn.report.table import columns_table, warning
from mlcnn.report.wording import (
    amount,
    area,
    figure,
    percent,
    plural,
    printable,
    ratio,
    uncounted_sentence,
)

__all__ = ["evaluation_tables", "execution", "nothing_fused"]

_ALL = "all layers"
_PARTS = ("dram", "buffer", "mac", "static")
_Cells = tuple[str, ...]


def evaluation_tables(comparison: Evaluation, name: str) -> RenderableType:
    """Everything about an evaluation, in 100 columns.

    Args:
        comparison: a network on two machines.
        name: of the network.

    Returns:
        What ``rich.console.Console.print`` takes.
    """
    on, against = _names(comparison)
    heading = Text.assemble(
        (printable(name), "bold"),
        f" on {on} against {against}, {plural(comparison.batch, 'image')}",
    )
    tables = Text(f"energy and area: {printable(comparison.technology.name)}", "dim")
    blocks = (
        _time(comparison),
        _operations(comparison),
        _traffic(comparison),
        _energy(comparison),
        _machines(comparison),
        _together(comparison),
    )
    parts: list[RenderableType] = [heading, tables]
    for block in blocks:
        parts += [Text(), block]
    if comparison.rewritten is None:
        parts += [Text(), Text(nothing_fused(comparison))]
    if told := comparison.told:
        parts += [Text(), *(Text(f"{printable(sentence)}.") for sentence in told)]
    if comparison.uncounted:
        parts += [Text(), warning(uncounted_sentence(comparison.uncounted))]
    return Group(*parts)


def nothing_fused(comparison: Evaluation) -> str:
    """What is said where no layer is fused."""
    on, _ = _names(comparison)
    return f"No layer of the network is fused with a pool: {on} runs it as it is."


def execution(row: LayerComparison, cost: LayerCost) -> str:
    """How a machine runs a layer, and with its pool or not."""
    how = printable(cost.execution)
    return f"{how} + pool" if row.fused and not cost.fused else how


def _names(comparison: Evaluation) -> tuple[str, str]:
    return printable(comparison.accelerator.name), printable(comparison.against.name)


def _per_layer(
    comparison: Evaluation,
    title: str,
    headings: Iterable[str],
    cells: Callable[[LayerComparison], _Cells],
    total: _Cells,
    *,
    words: int = 0,
) -> Table:
    """A table with a row for each layer and one for all of them.

    Args:
        comparison: the layers.
        title: what stands above it.
        headings: of the columns behind the layer's name.
        cells: what stands in them.
        total: what stands in them in the last row.
        words: how many of them, from the left, are words and not numbers.
    """
    columns = [(heading, index >= words) for index, heading in enumerate(headings)]
    table = columns_table(("layer", False), *columns, title=title)
    for row in comparison.layers:
        table.add_row(Text(printable(row.name)), *cells(row), style="bold" if row.fused else None)
    table.add_section()
    table.add_row(_ALL, *total)
    return table


def _time(comparison: Evaluation) -> Table:
    on, against = _names(comparison)

    def cells(row: LayerComparison) -> _Cells:
        return (
            execution(row, row.cost),
            printable(row.cost.bound),
            percent(row.cost.utilisation),
            f"{row.cost.cycles:,.0f}",
            f"{row.against.cycles:,.0f}",
            ratio(row.speedup),
        )

    busy = sum(row.cost.utilisation * row.cost.cycles for row in comparison.layers)
    total = (
        "",
        "",
        percent(busy / comparison.cycles),
        f"{comparison.cycles:,.0f}",
        f"{comparison.against_cycles:,.0f}",
        ratio(comparison.network.total_speedup),
    )
    headings = ("execution", "bound by", "util.", on, against, "speed-up")
    return _per_layer(comparison, "Cycles", headings, cells, total, words=2)


def _operations(comparison: Evaluation) -> Table:
    on, against = _names(comparison)

    def counted(*costs: LayerCost) -> _Cells:
        return tuple(
            amount(number) for cost in costs for number in (cost.multiplications, cost.additions)
        )

    def summed(costs: list[LayerCost]) -> _Cells:
        return (
            amount(sum(cost.multiplications for cost in costs)),
            amount(sum(cost.additions for cost in costs)),
        )

    total = summed([row.cost for row in comparison.layers])
    total += summed([row.against for row in comparison.layers])
    headings = ("multiplications", "additions", f"mult. {against}", f"add. {against}")
    title = f"Operations on {on}, beside those on {against}"
    return _per_layer(
        comparison, title, headings, lambda row: counted(row.cost, row.against), total
    )


def _traffic(comparison: Evaluation) -> Table:
    on, _ = _names(comparison)
    columns = zip(*(row.cost.traffic.parts for row in comparison.layers), strict=True)
    headings = ("DRAM weight", "input", "output", "buffer weight", "input", "partial sum")
    return _per_layer(
        comparison,
        f"Bytes on {on}, of DRAM and of the memories on the chip",
        headings,
        lambda row: tuple(map(amount, row.cost.traffic.parts)),
        tuple(amount(sum(column)) for column in columns),
    )


def _microjoules(spent: Energy) -> _Cells:
    return tuple(figure(getattr(spent, part) / 1e6) for part in (*_PARTS, "total"))


def _energy(comparison: Evaluation) -> Table:
    on, against = _names(comparison)

    def cells(spent: Energy, other: Energy) -> _Cells:
        return (*_microjoules(spent), figure(other.total / 1e6), ratio(other.total / spent.total))

    headings = ("DRAM", "buffer", "MAC", "static", on, against, "ratio")
    return _per_layer(
        comparison,
        f"Energy in uJ: parts and total on {on}, total on {against}",
        headings,
        lambda row: cells(row.cost.energy, row.against.energy),
        cells(comparison.energy, comparison.against_energy),
    )


def _machines(comparison: Evaluation) -> Table:
    table = columns_table(
        ("machine", False),
        ("area, mm2", True),
        ("clock, MHz", True),
        ("latency, ms", True),
        ("images/s", True),
        ("energy, uJ", True),
        title=f"Machines, on the whole network, {plural(comparison.batch, 'image')}",
    )

    def add(machine: Machine, seconds: float, spent: Energy) -> None:
        table.add_row(
            Text(printable(machine.name)),
            area(machine.area(comparison.technology)),
            figure(machine.clock_mhz),
            figure(seconds * 1e3),
            f"{comparison.batch / seconds:,.0f}",
            figure(spent.total / 1e6),
        )

    add(comparison.accelerator, comparison.seconds, comparison.energy)
    add(comparison.against, comparison.against_seconds, comparison.against_energy)
    return table


def _together(comparison: Evaluation) -> Table:
    on, against = _names(comparison)
    table = columns_table(
        ("", False),
        ("layers", True),
        ("mean", True),
        ("geometric", True),
        ("ratio of totals", True),
        ("worst layer", False),
        title=f"{against} over {on}",
    )
    if comparison.rewritten is not None:
        _add_summary(table, "rewritten layers", comparison.rewritten, means=True)
    # The layers of a network differ in size by orders of magnitude: their mean says nothing of it.
    _add_summary(table, "whole network", comparison.network, means=False)
    if (equal := comparison.own_precision) is not None:
        scope = f"whole network, {printable(equal.against.name)}"
        _add_summary(table, scope, equal.network, means=False)
    return table


def _add_summary(table: Table, scope: str, found: Summary, *, means: bool) -> None:
    rows = (
        (
            "time",
            (found.speedup, found.geometric_speedup),
            found.total_speedup,
            f"{ratio(found.worst_speedup)} ({printable(found.worst)})",
        ),
        (
            "energy",
            (found.energy_ratio, found.geometric_energy_ratio),
            found.total_energy_ratio,
            ratio(found.worst_energy_ratio),
        ),
    )
    for what, averages, totals, worst in rows:
        cells = tuple(map(ratio, averages)) if means else ("", "")
        label = f"{scope}, {what}"
        table.add_row(label, str(found.layers), *cells, ratio(totals), Text(worst))
