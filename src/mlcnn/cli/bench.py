"""``mlcnn bench``: latency of the original, reordered and fused network."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

import mlcnn
from mlcnn.cli.options import Loading, Measuring, Printing, Rewriting
from mlcnn.cli.output import complain, print_json, progress, show

if TYPE_CHECKING:
    from mlcnn.engines import Bench

__all__ = ["bench"]


def bench(
    model: str,
    /,
    *,
    measure: Annotated[bool, Parameter(negative="--no-measure")] = True,
    loading: Loading = Loading(),
    rewriting: Rewriting = Rewriting(),
    measuring: Measuring = Measuring(),
    printing: Printing = Printing(),
) -> None:
    """Measure the latency of the original, reordered and fused network.

    Args:
        model: zoo name, .onnx or .pt2 file, or package.module:callable.
        measure: choose the form of each site by time on each engine, not by an estimate.
        loading: how to load the network.
        rewriting: which passes run.
        measuring: on what to measure.
        printing: what is printed.
    """
    with progress() as tell:
        result = mlcnn.bench(
            model,
            rewriting.options(),
            measuring.options(chosen=measure),
            input_shape=loading.shape,
            weights=loading.weights,
            progress=tell,
        )
    for row in result.skipped:
        complain(f"warning: {row.engine}, {row.variant}, batch {row.batch}: {row.reason}")
    for warning in result.warnings:
        complain(f"warning: {warning}")
    if printing.json:
        print_json(result.to_json())
    else:
        show(_table(result))


def _table(result: "Bench") -> Table:
    table = mlcnn.api.columns_table(
        ("engine", False),
        ("batch", True),
        ("variant", False),
        ("median, ms", True),
        ("quartiles, ms", True),
        ("against original", True),
        title="Latency",
    )
    previous = None
    for row in result.results:
        if previous not in {None, (row.engine, row.batch)}:
            table.add_section()
        previous = (row.engine, row.batch)
        ratio = result.speedup(row.engine, row.variant, "original", row.batch)
        against = "" if ratio is None or row.variant == "original" else f"{ratio.value:.2f}x"
        table.add_row(
            Text(mlcnn.api.printable(row.engine)),
            str(row.batch),
            row.variant,
            f"{row.median_ms:.4g}",
            f"{row.q1_ms:.4g} to {row.q3_ms:.4g}",
            against,
        )
    return table
