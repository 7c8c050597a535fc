"""``mlcnn bench``: latency of a network before and after, or of two networks."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

import mlcnn
from mlcnn.cli.options import Imaging, Loading, Measuring, Printing, Rewriting
from mlcnn.cli.output import complain, print_json, print_per_image, progress, show

if TYPE_CHECKING:
    from mlcnn.engines import Bench

__all__ = ["bench"]


def bench(
    model: str,
    /,
    *,
    against: str | None = None,
    measure: Annotated[bool, Parameter(negative="--no-measure")] = True,
    data: str | None = None,
    imaging: Imaging = Imaging(),
    loading: Loading = Loading(),
    rewriting: Rewriting = Rewriting(),
    measuring: Measuring = Measuring(),
    printing: Printing = Printing(),
) -> None:
    """Measure the latency of a network before and after the passes, or of two networks.

    Args:
        model: zoo name, .onnx or .pt2 file, timm:NAME, hf:ORG/NAME, or package.module:callable.
        against: another network; both are timed as they are, in turn, and no pass runs.
        measure: choose the form of each site by time on each engine, not by an estimate.
        data: images, as for `mlcnn run`: how long each takes in a network that leaves work out, of
            which the worst and the best case are timed too.
        imaging: how the images go to the network.
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
            against=against,
            input_shape=loading.shape,
            weights=loading.weights,
            progress=tell,
        )
        each = None
        if data is not None:
            each = mlcnn.api.latency_per_image(
                model,
                data,
                imaging.options(),
                rewriting.options(),
                measuring.options(chosen=measure),
                against=against,
                input_shape=loading.shape,
                weights=loading.weights,
                progress=tell,
            )
    for row in result.skipped:
        complain(f"warning: {row.engine}, {row.variant}, batch {row.batch}: {row.reason}")
    for warning in result.warnings:
        complain(f"warning: {warning}")
    if printing.json:
        print_json(result.to_json() | ({} if each is None else {"per_image": each.to_json()}))
        return
    show(_table(result), *_coded(result))
    for line in result.told if each is None else ():
        show(mlcnn.api.warning(line))
    print_per_image(each)


def _coded(result: "Bench") -> Iterator[RenderableType]:
    """How layers of few bits are computed, of each network, where an engine tells."""
    for row in result.results:
        where = f"{row.engine}, {row.variant}, batch {row.batch}"
        table = mlcnn.api.coded_layers(where, row.algorithms)
        if table is not None:
            yield from (Text(), table)


def _table(result: "Bench") -> Table:
    first = result.results[0].variant
    table = mlcnn.api.columns_table(
        ("engine", False),
        ("precision", False),
        ("batch", True),
        ("variant", False),
        ("median, ms", True),
        ("quartiles, ms", True),
        (f"against {mlcnn.api.printable(first)}", True),
        title="Latency",
    )
    previous = None
    for row in result.results:
        if previous not in {None, (row.engine, row.batch)}:
            table.add_section()
        previous = (row.engine, row.batch)
        gain = result.gain(row)
        table.add_row(
            Text(mlcnn.api.printable(row.engine)),
            row.precision,
            str(row.batch),
            Text(mlcnn.api.printable(row.variant)),
            f"{row.median_ms:.4g}",
            f"{row.q1_ms:.4g} to {row.q3_ms:.4g}",
            "" if gain is None else f"{gain.value:.2f}x",
        )
    return table
