"""Two networks on one machine, for the terminal."""

from rich.console import Group, RenderableType
from rich.text import Text

from mlcnn.accelerators import LayerPair, NetworkComparison
from mlcnn.report.table import columns_table, warning
from mlcnn.report.wording import amount, figure, plural, printable, ratio, uncounted_sentence

__all__ = ["network_tables"]


def network_tables(comparison: NetworkComparison) -> RenderableType:
    """Cycles, energy, operations and DRAM traffic, layer by layer.

    Args:
        comparison: two networks on one machine.

    Returns:
        What ``rich.console.Console.print`` takes.
    """
    name, against = map(printable, comparison.names)
    heading = Text.assemble(
        (name, "bold"),
        f" against {against} on {printable(comparison.accelerator.name)}, "
        f"{plural(comparison.batch, 'image')}",
    )
    time = columns_table(
        ("layer", False),
        (f"cycles {name}", True),
        (against, True),
        ("speed-up", True),
        (f"energy, uJ {name}", True),
        (against, True),
        ("ratio", True),
        title="Cycles and energy",
    )
    work = columns_table(
        ("layer", False),
        (f"multiplications {name}", True),
        (against, True),
        (f"additions {name}", True),
        (against, True),
        (f"DRAM bytes {name}", True),
        (against, True),
        title="Operations and bytes of DRAM",
    )
    for row in comparison.layers:
        label = Text(printable(row.name))
        time.add_row(label, *_time(row))
        work.add_row(label, *_work(row))
    for table, cells in ((time, _time), (work, _work)):
        table.add_section()
        table.add_row("all layers", *cells(comparison.total))
    tables = Text(f"energy and area: {printable(comparison.technology.name)}", "dim")
    parts: list[RenderableType] = [heading, tables, Text(), time, Text(), work]
    if told := (*comparison.scaling, *comparison.depends):
        parts += [Text(), *(Text(f"{printable(line)}.") for line in told)]
    if comparison.uncounted:
        parts += [Text(), warning(uncounted_sentence(comparison.uncounted))]
    return Group(*parts)


def _time(row: LayerPair) -> tuple[str, ...]:
    sides = (row.costs, row.against)
    gains = ["" if gain is None else ratio(gain) for gain in (row.speedup, row.energy_ratio)]
    cycles = (f"{side.cycles:,.0f}" for side in sides)
    return (*cycles, gains[0], *(figure(side.energy_pj / 1e6) for side in sides), gains[1])


def _work(row: LayerPair) -> tuple[str, ...]:
    sides = (row.costs, row.against)
    return (
        *(amount(side.multiplications) for side in sides),
        *(amount(side.additions) for side in sides),
        *(amount(side.dram_bytes) for side in sides),
    )
