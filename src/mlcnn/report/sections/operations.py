"""Multiplications and additions per layer, before and after."""

from dataclasses import dataclass

from mlcnn.counting import LayerCount, Operations
from mlcnn.report.charts import operation_charts
from mlcnn.report.sections.section import Section
from mlcnn.report.summary import RunSummary
from mlcnn.report.wording import amount, per, printable, removed

__all__ = ["operations"]


@dataclass(frozen=True, slots=True)
class Row:
    """The counts of one layer, in words: before, (paper, shared,) after and the change."""

    name: str
    fused: bool
    form: str
    multiplications: tuple[str, str, str]
    additions: tuple[str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Content:
    """What the section shows.

    Attributes:
        rows: one per layer.
        total: their sum.
        images: for how many images the counts hold.
        changes: (operation, before, after, change) over the network.
    """

    rows: tuple[Row, ...]
    total: Row
    images: str
    changes: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Reuse:
    """Additions in the box form, as the paper counts and shared by all filters."""

    paper: int
    shared: int


def _row(name: str, form: str | None, before: Operations, after: Operations, reuse: Reuse) -> Row:
    return Row(
        name,
        form is not None,
        form or "",
        (
            f"{before.multiplications:,}",
            f"{after.multiplications:,}",
            removed(before.multiplications, after.multiplications),
        ),
        (
            f"{before.additions:,}",
            f"{reuse.paper:,}",
            f"{reuse.shared:,}",
            f"{after.additions:,}",
            removed(before.additions, after.additions),
        ),
    )


def _layer_row(layer: LayerCount) -> Row:
    before = Operations(layer.multiplications.original, layer.additions.original)
    reuse = Reuse(layer.additions.paper, layer.additions.shared)
    return _row(printable(layer.name), layer.form, before, layer.chosen, reuse)


def operations(summary: RunSummary) -> Section | None:
    """The section; None for a network without a layer that multiplies."""
    layers = summary.counts.layers
    if not layers:
        return None
    before, after = summary.before, summary.after
    reuse = Reuse(
        sum(layer.additions.paper for layer in layers),
        sum(layer.additions.shared for layer in layers),
    )
    changes = (
        ("multiplications", before.multiplications, after.multiplications),
        ("additions", before.additions, after.additions),
    )
    content = Content(
        tuple(map(_layer_row, layers)),
        _row("all layers", None, before, after, reuse),
        per(summary.images),
        tuple((noun, amount(old), amount(new), removed(old, new)) for noun, old, new in changes),
    )
    title = "Operations per layer"
    charts = operation_charts(summary)
    return Section("operations", title, "operations.html", content, charts)
