"""Multiplications and additions per layer, before and after."""

from dataclasses import dataclass

from mlcnn.counting import LayerCount
from mlcnn.report.charts import operation_charts
from mlcnn.report.sections.section import Section
from mlcnn.report.summary import RunSummary
from mlcnn.report.wording import amount, per, printable, removed

__all__ = ["operations"]


@dataclass(frozen=True, slots=True)
class Row:
    """The counts of one layer, in words.

    Attributes:
        name: the layer's.
        changed: whether it takes other operations than before.
        form: how it is computed, if not as the plain operator.
        multiplications: before, after and the change.
        additions: before, (paper, shared,) after and the change; the two where layers are fused.
    """

    name: str
    changed: bool
    form: str
    multiplications: tuple[str, ...]
    additions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """What the section shows.

    Attributes:
        rows: one per layer.
        total: their sum.
        has_reuse: whether layers are fused, so that [MLCNN]'s counts of them are shown.
        images: for how many images the counts hold.
        changes: (operation, before, after, change) over the network.
    """

    rows: tuple[Row, ...]
    total: Row
    has_reuse: bool
    images: str
    changes: tuple[tuple[str, str, str, str], ...]


def _cells(before: int, after: int, between: tuple[str, ...] = ()) -> tuple[str, ...]:
    return (f"{before:,}", *between, f"{after:,}", removed(before, after))


def _layer_row(layer: LayerCount, *, has_reuse: bool) -> Row:
    """A row; [MLCNN]'s counts stand in those of its own layers."""
    reuse = (f"{layer.additions.paper:,}", f"{layer.additions.shared:,}")
    between = (reuse if layer.fused else ("", "")) if has_reuse else ()
    return Row(
        printable(layer.name),
        layer.changed,
        layer.form or "",
        _cells(layer.before.multiplications, layer.chosen.multiplications),
        _cells(layer.before.additions, layer.chosen.additions, between),
    )


def operations(summary: RunSummary) -> Section | None:
    """The section; None for a network without a layer that multiplies."""
    layers = summary.counts.layers
    if not layers:
        return None
    before, after = summary.before, summary.after
    changes = (
        ("multiplications", before.multiplications, after.multiplications),
        ("additions", before.additions, after.additions),
    )
    has_reuse = any(layer.fused for layer in layers)
    total = Row(
        "all layers",
        changed=False,
        form="",
        multiplications=_cells(before.multiplications, after.multiplications),
        additions=_cells(before.additions, after.additions, ("", "") if has_reuse else ()),
    )
    content = Content(
        tuple(_layer_row(layer, has_reuse=has_reuse) for layer in layers),
        total,
        has_reuse,
        per(summary.images),
        tuple((noun, amount(old), amount(new), removed(old, new)) for noun, old, new in changes),
    )
    title = "Operations per layer"
    charts = operation_charts(summary)
    return Section("operations", title, "operations.html", content, charts)
