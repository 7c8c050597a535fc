"""How an engine computes the layers between quantisers: by which kernel, and why."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mlcnn.engines import LayerAlgorithm
from mlcnn.report.table import columns_table
from mlcnn.report.wording import duration, plural, printable

__all__ = ["coded_layers"]


def coded_layers(
    where: str, layers: Sequence[LayerAlgorithm], most: int | None = None
) -> Table | None:
    """A row for each layer between quantisers: its bits, what computes it, all times, and why.

    Of a network without few bits only the layers that are not computed in their codes.

    Args:
        where: engine, network and batch.
        layers: as the engine tells them.
        most: rows that are shown; all by default.

    Returns:
        A table; None where there is no row.
    """
    rows = [layer for layer in layers if layer.bits.are_coded]
    if not any(layer.bits.are_narrow for layer in rows):
        rows = [layer for layer in rows if layer.told]
    if not rows:
        return None
    measured = all(layer.measured for layer in rows)
    table = columns_table(
        ("layer", False), ("bits", False), ("computed by", False), ("time", True),
        ("others", False), ("why", False),
        title=f"Quantised layers: {printable(where)}{'' if measured else ' (estimated)'}",
    )  # fmt: skip
    for layer in rows[:most]:
        table.add_row(
            Text(printable(layer.layer)),
            str(layer.bits),
            _kernel(layer),
            duration(layer.ms),
            _others(layer),
            Text(printable(layer.told)),
        )
    if most is not None and len(rows) > most:
        table.add_row(f"and {plural(len(rows) - most, 'layer')} more", "", "", "", "", "")
    return table


def _kernel(layer: LayerAlgorithm) -> str:
    return layer.algorithm if layer.coded else f"FP32 ({layer.algorithm})"


def _others(layer: LayerAlgorithm) -> str:
    """Times of the other kernels of codes."""
    if not layer.coded:
        return ""
    others = ((name, ms) for name, ms in layer.times_ms.items() if name != layer.algorithm)
    return ", ".join(f"{name} {duration(ms)}" for name, ms in others)
