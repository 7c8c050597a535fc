"""``mlcnn count``: what each layer executes and keeps, before and after."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

import mlcnn
from mlcnn.cli.options import Imaging, Loading, Printing, Rewriting
from mlcnn.cli.output import print_csv, print_json, print_per_image, progress, show
from mlcnn.errors import InputError

if TYPE_CHECKING:
    from mlcnn.counting import CountReport, LayerCount
    from mlcnn.workload import Stored

__all__ = ["count"]

_UNLIMITED = 10_000
_SINGLE = 32


def count(
    model: str,
    /,
    *,
    against: str | None = None,
    batch: int = 1,
    detail: bool = False,
    csv: bool = False,
    data: str | None = None,
    imaging: Imaging = Imaging(),
    loading: Loading = Loading(),
    rewriting: Rewriting = Rewriting(),
    printing: Printing = Printing(),
) -> None:
    """Count what each layer executes and keeps: operations, parameters, bytes, before and after.

    Args:
        model: zoo name, .onnx or .pt2 file, timm:NAME, hf:ORG/NAME, or package.module:callable.
        against: another network, to compare with layer by layer; no pass runs then.
        batch: images to count for.
        detail: also the additions of the fused layers as the paper of MLCNN counts them.
        data: images, as for `mlcnn run`: what each costs in a network that leaves work out.
        imaging: how the images go to the network.
        csv: one table of all columns on standard output, a row for each layer and the total.
        loading: how to load the network.
        rewriting: which passes run.
        printing: what is printed.
    """
    if csv and printing.json:
        raise InputError("--csv and --json: standard output holds one document; give one")
    with progress() as tell:
        tell("count", 0, 0)
        report = mlcnn.count(
            model,
            rewriting.options(),
            against=against,
            input_shape=loading.shape,
            weights=loading.weights,
            batch=batch,
        )
        each = None
        if data is not None:
            options = imaging.options()
            each = mlcnn.api.per_image(model, data, options, weights=loading.weights, progress=tell)
    if printing.json:
        print_json(report.to_json() | ({} if each is None else {"per_image": each.to_json()}))
    elif csv:
        print_csv([*report.records(), report.total()])
    else:
        show(*_tables(report, detail=detail))
        print_per_image(each)


def _tables(report: "CountReport", *, detail: bool) -> Iterator[RenderableType]:
    yield _Counts("Operations", _operations(report), report.layers)
    yield Text()
    yield _Counts("Parameters and bytes", _stored(report), report.layers)
    few = [row for row in report.layers if row.bitwise.ands]
    if few:
        yield Text()
        yield _Counts("Few bits, by AND and popcount of 64-bit words", _BITWISE, few)
    fused = [row for row in report.layers if row.fused]
    if detail and fused:
        yield Text()
        yield _Counts("Additions of fused layers, as [MLCNN] counts", _REUSES, fused)
    elif detail:
        yield Text("No layer is fused with a pool: there is no detail of MLCNN's.")
    if report.uncounted:
        yield mlcnn.api.warning(mlcnn.api.uncounted_sentence(report.uncounted))
    yield from (mlcnn.api.warning(line) for line in report.told)


@dataclass(frozen=True, slots=True)
class _Column:
    """A heading, and what stands below it: words of a layer, or a number that adds up."""

    heading: str
    cell: "Callable[[LayerCount], str | int]"
    is_number: bool = True


def _words(report: "CountReport") -> Iterator[_Column]:
    """Columns of words, those alone that say something of a layer."""
    columns = (
        _Column("form", lambda row: row.form or "", is_number=False),
        _Column("weights", _structure, is_number=False),
        _Column("bits", _bits, is_number=False),
    )
    return (column for column in columns if any(column.cell(row) for row in report.layers))


def _structure(row: "LayerCount") -> str:
    return "" if row.weights == "dense" else row.weights


def _bits(row: "LayerCount") -> str:
    """Bits of weights and inputs, where they are not those of single precision."""
    weight, operand = row.numbers.weight, row.numbers.operand
    if min(weight, operand) == _SINGLE:
        return ""
    return f"{weight} x {operand}{' (sums)' if row.numbers.sums else ''}"


def _operations(report: "CountReport") -> list[_Column]:
    before = (
        _Column("MACs", lambda row: row.macs[0]),
        _Column("mult.", lambda row: row.before.multiplications),
        _Column("add.", lambda row: row.before.additions),
    )
    after = (
        _Column("after", lambda row: row.macs[1]),
        _Column("after", lambda row: row.chosen.multiplications),
        _Column("after", lambda row: row.chosen.additions),
    )
    return [*_words(report), *_beside(before, after, report), *_nonzero(report)]


def _nonzero(report: "CountReport") -> list[_Column]:
    """What an engine without zeros multiplies, where that is not what the network executes."""
    column = _Column("without zeros", lambda row: row.nonzero[1])
    return [column] if report.has_zeros else []


def _stored(report: "CountReport") -> list[_Column]:
    def column(heading: str, side: int) -> tuple[_Column, ...]:
        return (
            _Column(heading or "parameters", lambda row: row.stored[side].parameters),
            _Column(heading or "weight bytes", lambda row: row.stored[side].weight_bytes),
            _Column(heading or "activation bytes", lambda row: _moved(row.stored[side])),
        )

    return _beside(column("", 0), column("after", 1), report)


def _moved(stored: "Stored") -> int:
    return stored.input_bytes + stored.output_bytes


def _beside(
    before: Sequence[_Column], after: Sequence[_Column], report: "CountReport"
) -> list[_Column]:
    """Each column with the one after it; without those where no layer changed."""
    if not report.changed:
        return list(before)
    return [column for pair in zip(before, after, strict=True) for column in pair]


_BITWISE = (
    _Column("bits", _bits, is_number=False),
    _Column("AND", lambda row: row.bitwise.ands),
    _Column("popcount", lambda row: row.bitwise.popcounts),
    _Column("shift", lambda row: row.bitwise.shifts),
    _Column("add", lambda row: row.bitwise.additions),
)
_REUSES = (
    _Column("before", lambda row: row.additions.original),
    _Column("LAR", lambda row: row.additions.lar),
    _Column("GAR", lambda row: row.additions.gar),
    _Column("paper's", lambda row: row.additions.paper),
    _Column("Algorithm 1", lambda row: row.additions.algorithm),
    _Column("shared", lambda row: row.additions.shared),
)


@dataclass(frozen=True, slots=True)
class _Counts:
    """A table: every digit where there is room, millions where a digit would be cut off."""

    title: str
    columns: Sequence[_Column]
    rows: "Sequence[LayerCount]"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        table = self._table("", "{:,}".format)
        unlimited = options.update(max_width=_UNLIMITED)
        if Measurement.get(console, unlimited, table).maximum > options.max_width:
            table = self._table(", millions", lambda number: f"{number / 1e6:,.3f}")
        yield table

    def _table(self, unit: str, written: Callable[[int], str]) -> Table:
        table = mlcnn.api.columns_table(
            ("layer", False),
            *((column.heading, column.is_number) for column in self.columns),
            title=f"{self.title}{unit}",
        )
        cells = [[column.cell(row) for column in self.columns] for row in self.rows]
        for row, values in zip(self.rows, cells, strict=True):
            name = Text(mlcnn.api.printable(row.name))
            table.add_row(name, *(_text(value, written) for value in values))
        table.add_section()
        sums = (
            sum(value for value in column if isinstance(value, int))
            for column in zip(*cells, strict=True)
        )
        totals = zip(self.columns, sums, strict=True)
        table.add_row("total", *(written(n) if c.is_number else "" for c, n in totals))
        return table


def _text(value: str | int, written: Callable[[int], str]) -> Text:
    return Text(mlcnn.api.printable(value) if isinstance(value, str) else written(value))
