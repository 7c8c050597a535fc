"""The operations of a network, layer by layer, before and after."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Self

import onnx_ir as ir

from mlcnn.counting.forms import form_operations
from mlcnn.counting.operations import Operations
from mlcnn.counting.reuse import Reuse, fused, original
from mlcnn.workload import ConvLayer, InputShape, Uncounted, read

__all__ = ["Additions", "CountReport", "LayerCount", "Multiplications", "count", "count_layer"]


@dataclass(frozen=True, slots=True)
class _Sum:
    """Integers that add up field by field."""

    def __add__(self, other: Self) -> Self:
        both = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return replace(self, **both)


@dataclass(frozen=True, slots=True)
class Multiplications(_Sum):
    """Multiplications of a layer.

    Attributes:
        original: of the convolution as it is.
        reordered: with the activation behind the pool: the same.
        fused: of the fused layer; every reuse of sums has the same.
    """

    original: int = 0
    reordered: int = 0
    fused: int = 0


@dataclass(frozen=True, slots=True)
class Additions(_Sum):
    """Additions of a layer.

    Attributes:
        original: of the convolution and the pool behind it.
        reordered: with the activation behind the pool: the same.
        lar: fused, half sums reused inside one pooled output (per filter).
        gar: fused, full sums reused along a pooled row (per filter).
        paper: fused, both: the convention of [MLCNN] §V.
        algorithm: fused as Algorithm 1 is printed: full sums anew for every filter.
        shared: fused, sums formed once for all filters.
    """

    original: int = 0
    reordered: int = 0
    lar: int = 0
    gar: int = 0
    paper: int = 0
    algorithm: int = 0
    shared: int = 0


@dataclass(frozen=True, slots=True)
class LayerCount:
    """One layer.

    Attributes:
        layer: the loop nest, with its pool where it is fused.
        operator: ``Conv``, ``Gemm`` or ``MatMul``.
        form: the form that was chosen; None where the layer is not fused.
        multiplications: before and after.
        additions: before and after.
        chosen: what the chosen form takes; the original's where the layer is not fused.
    """

    layer: ConvLayer
    operator: str
    form: str | None
    multiplications: Multiplications
    additions: Additions
    chosen: Operations

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def fused(self) -> bool:
        """Whether the layer is fused with a pool."""
        return self.form is not None


@dataclass(frozen=True, slots=True)
class CountReport:
    """All layers of a network, in order.

    Attributes:
        layers: every convolution and dense layer.
        images: what the counts are for.
        uncounted: what multiplies in the network and is not among the layers.
    """

    layers: tuple[LayerCount, ...]
    images: int = 1
    uncounted: tuple[Uncounted, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The document that ``mlcnn count --json`` prints.

        Returns:
            ``layers`` and their ``total``; ``fused_layers`` and ``convolutions`` are the totals
            of these alone; ``uncounted`` has what multiplies beside them.
        """
        rows = [
            {"name": row.name, "operator": row.operator, "fused": row.fused, "form": row.form}
            | _amounts(row.multiplications, row.additions, row.chosen)
            for row in self.layers
        ]
        return {
            "layers": rows,
            "total": _total(self.layers),
            "fused_layers": _total(row for row in self.layers if row.fused),
            "convolutions": _total(row for row in self.layers if row.operator == "Conv"),
            "images": self.images,
            "uncounted": [asdict(other) for other in self.uncounted],
        }


def _amounts(
    multiplications: Multiplications, additions: Additions, chosen: Operations
) -> dict[str, object]:
    return {
        "multiplications": asdict(multiplications),
        "additions": asdict(additions),
        "chosen": asdict(chosen),
    }


def _total(rows: Iterable[LayerCount]) -> dict[str, object]:
    multiplications, additions, chosen = Multiplications(), Additions(), Operations()
    for row in rows:
        multiplications += row.multiplications
        additions += row.additions
        chosen += row.chosen
    return _amounts(multiplications, additions, chosen)


def count_layer(layer: ConvLayer, *, operator: str = "Conv", form: str | None = None) -> LayerCount:
    """Count one layer, fused with its pool where it has one.

    Args:
        layer: the layer; without a pool, nothing changes.
        operator: what it is in the network.
        form: the form chosen for it, a key of ``FORMS``; None where it is not fused.

    Raises:
        ValueError: the form is not known, or given for a layer without a pool.
    """
    if form is not None and layer.pool is None:
        msg = f"layer {layer.name}: form {form!r} was given and there is no pool to fuse"
        raise ValueError(msg)
    before = original(layer)
    after = {reuse: fused(layer, reuse) for reuse in Reuse}
    multiplications = Multiplications(
        before.multiplications, before.multiplications, after[Reuse.SHARED].multiplications
    )
    kinds = (Reuse.LAR, Reuse.GAR, Reuse.PAPER, Reuse.ALGORITHM, Reuse.SHARED)
    additions = Additions(
        before.additions, before.additions, *(after[kind].additions for kind in kinds)
    )
    chosen = before if form is None else form_operations(layer, form)
    return LayerCount(layer, operator, form, multiplications, additions, chosen)


def count(
    model: ir.Model,
    fused: Mapping[str, tuple[ConvLayer, str]] | None = None,
    *,
    batch: int = 1,
    input_shape: InputShape | None = None,
) -> CountReport:
    """Count every convolution and dense layer of a network.

    Args:
        model: the network before any rewrite.
        fused: what the passes fused: for each layer its loop nest with the pool and the form
            that was chosen. The layer goes by the name inside its loop nest; the keys only keep
            the entries apart (a module that is called twice has two).
        batch: images, where the network's batch is dynamic.
        input_shape: sizes for dynamic heights and widths; see ``mlcnn.workload.read``.

    Raises:
        InputError: ``fused`` holds a layer that the network does not have, or the shapes do
            not fit.
        UnsupportedError: a layer's sizes are not known.
    """
    entries = tuple((fused or {}).values())
    workload = read(model, batch=batch, input_shape=input_shape)
    matched = workload.match(layer for layer, _ in entries)
    rows: list[LayerCount] = []
    for layer, operator, index in zip(workload.layers, workload.operators, matched, strict=True):
        if index is None:
            rows.append(count_layer(layer, operator=operator))
            continue
        entry, form = entries[index]
        rows.append(count_layer(replace(layer, pool=entry.pool), operator=operator, form=form))
    return CountReport(tuple(rows), workload.images, workload.uncounted)
