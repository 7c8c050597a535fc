"""The operations of a network, layer by layer, before and after."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import onnx_ir as ir

from mlcnn.counting.bits import BitOperations, bit_operations
from mlcnn.counting.forms import executed_operations, form_operations, nonzero_multiplications
from mlcnn.counting.joining import joined
from mlcnn.counting.reuse import Reuse, fused, original
from mlcnn.table import Shown, Tabular, flat
from mlcnn.workload import (
    DENSE,
    ConvLayer,
    InputShape,
    Layer,
    Numbers,
    Operations,
    Stored,
    Sum,
    Uncounted,
    Workload,
    read,
)

__all__ = [
    "Additions",
    "CountReport",
    "LayerCount",
    "Multiplications",
    "compare",
    "count",
    "count_layer",
]


@dataclass(frozen=True, slots=True)
class Multiplications(Sum):
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
class Additions(Sum):
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


_NOTHING = (Stored(), Stored())
_SINGLE, _NO_BITS = Numbers(), BitOperations()


@dataclass(frozen=True, slots=True)
class LayerCount:
    """One layer, before and after.

    Attributes:
        layer: the loop nest, with its pool where it is fused.
        operator: ``Conv``, ``Gemm`` or ``MatMul``.
        form: how it is computed; None where it is the plain operator.
        multiplications: before and after.
        additions: before and after.
        chosen: what the network executes for it; what it was where nothing changed.
        weights: the structure of its weights.
        stored: parameters and bytes, before and after.
        macs: multiply-accumulates of the layer as it was, and of what runs for it.
        nonzero: multiplications by weights that are not zero, before and after.
        numbers: bits of its operands.
        bitwise: what its products take bit by bit; nothing where they have 8 bits or more.
        old_form: how it was computed before; None where it was the plain operator.
    """

    layer: ConvLayer
    operator: str
    form: str | None
    multiplications: Multiplications
    additions: Additions
    chosen: Operations
    weights: str = "dense"
    stored: tuple[Stored, Stored] = _NOTHING
    macs: tuple[int, int] = (0, 0)
    nonzero: tuple[int, int] = (0, 0)
    numbers: Numbers = _SINGLE
    bitwise: BitOperations = _NO_BITS
    old_form: str | None = None

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def fused(self) -> bool:
        """Whether the layer is fused with a pool."""
        return self.form is not None and self.layer.pool is not None

    @property
    def before(self) -> Operations:
        """What the layer took before."""
        return Operations(self.multiplications.original, self.additions.original)

    @property
    def changed(self) -> bool:
        """Whether it is computed in another way, or by other operations, than before."""
        return self.form != self.old_form or self.chosen != self.before


@dataclass(frozen=True, slots=True, repr=False)
class CountReport(Tabular):
    """All layers of a network, in order.

    Attributes:
        layers: every convolution and dense layer.
        images: what the counts are for.
        uncounted: what multiplies in the network and is not among the layers.
        least: what an image costs at least, where that depends on the image; the layers are then
            what it can cost at most. None elsewhere.
    """

    layers: tuple[LayerCount, ...]
    images: int = 1
    uncounted: tuple[Uncounted, ...] = ()
    least: Operations | None = None

    @property
    def changed(self) -> bool:
        """Whether any layer is computed in another way, or by other operations, than before."""
        return any(row.changed for row in self.layers)

    @property
    def has_zeros(self) -> bool:
        """Whether an engine that leaves out zeros has fewer multiplications than are executed."""
        return any(row.nonzero[1] != row.chosen.multiplications for row in self.layers)

    def to_json(self) -> dict[str, object]:
        """The document that ``mlcnn count --json`` prints.

        Returns:
            ``layers`` and their ``total``; ``fused_layers`` and ``convolutions`` are the totals
            of these alone; ``uncounted`` has what multiplies beside them.
        """
        rows = [_described(row) | _amounts((row,)) for row in self.layers]
        return {
            "layers": rows,
            "total": _amounts(self.layers),
            "fused_layers": _amounts(row for row in self.layers if row.fused),
            "convolutions": _amounts(row for row in self.layers if row.operator == "Conv"),
            "images": self.images,
            "uncounted": [asdict(other) for other in self.uncounted],
            "least": None if self.least is None else asdict(self.least),
        }

    def records(self) -> list[dict[str, Any]]:
        """A row for each layer: all that ``to_json`` has of it, names joined by underscores."""
        return [flat(_described(row) | _amounts((row,))) for row in self.layers]

    def total(self) -> dict[str, Any]:
        """The row of all layers together."""
        return {"name": "total"} | flat(_amounts(self.layers))

    def shown(self) -> Shown:
        """What each layer executes, before and after."""
        left = sum(row.nonzero[1] for row in self.layers)
        rows = [
            (row.name, row.form or "", *_numbers(row.before, row.chosen), f"{row.nonzero[1]:,}")
            for row in self.layers
        ]
        rows.append(("total", "", *_numbers(self.before, self.after), f"{left:,}"))
        images = "1 image" if self.images == 1 else f"{self.images} images"
        columns = ("layer", "form", "multiplications", "after", "additions", "after", "no zeros")
        if not self.has_zeros:
            rows, columns = [row[:-1] for row in rows], columns[:-1]
        notes = tuple(f"not counted: {item.operator} ({item.name})" for item in self.uncounted)
        notes += self.told
        title = f"{len(self.layers)} layers, {images}"
        return Shown(title, columns, tuple(rows), notes)

    @property
    def told(self) -> tuple[str, ...]:
        """What is to be known of a network whose cost depends on the image; else nothing."""
        if self.least is None:
            return ()
        least = f"{self.least.multiplications:,} multiplications"
        return (
            (
                f"what runs depends on the image: the total is the most, {least} the least; "
                "--data gives what images take"
            ),
        )

    @property
    def before(self) -> Operations:
        """All layers before."""
        return sum((row.before for row in self.layers), Operations())

    @property
    def after(self) -> Operations:
        """All layers as they are executed."""
        return sum((row.chosen for row in self.layers), Operations())


def _numbers(before: Operations, after: Operations) -> tuple[str, ...]:
    found = (before.multiplications, after.multiplications, before.additions, after.additions)
    return tuple(f"{number:,}" for number in found)


def _described(row: LayerCount) -> dict[str, object]:
    """What stands in words beside a layer's figures."""
    return {
        "name": row.name,
        "operator": row.operator,
        "fused": row.fused,
        "changed": row.changed,
        "form": row.form,
        "weights": row.weights,
        "bits": asdict(row.numbers),
    }


def _amounts(rows: Iterable[LayerCount]) -> dict[str, object]:
    multiplications, additions, chosen = Multiplications(), Additions(), Operations()
    before, after, bitwise = Stored(), Stored(), BitOperations()
    macs, nonzero = [0, 0], [0, 0]
    for row in rows:
        multiplications += row.multiplications
        additions += row.additions
        chosen += row.chosen
        bitwise += row.bitwise
        before, after = before + row.stored[0], after + row.stored[1]
        macs = [total + part for total, part in zip(macs, row.macs, strict=True)]
        nonzero = [total + part for total, part in zip(nonzero, row.nonzero, strict=True)]
    return {
        "multiplications": asdict(multiplications),
        "additions": asdict(additions),
        "chosen": asdict(chosen),
        "bitwise": asdict(bitwise),
        "macs": {"original": macs[0], "result": macs[1]},
        "nonzero": {"original": nonzero[0], "result": nonzero[1]},
        "stored": {"original": asdict(before), "result": asdict(after)},
    }


def count_layer(layer: ConvLayer, *, operator: str = "Conv", form: str | None = None) -> LayerCount:
    """Count one layer, fused with its pool where it has one.

    Args:
        layer: the layer; without a pool, nothing changes.
        operator: what it is in the network.
        form: the form chosen for it, None where it is not fused.

    Raises:
        ValueError: the form is not known, or given for a layer without a pool.
    """
    if form is not None and layer.pool is None:
        msg = f"layer {layer.name}: form {form!r} was given and there is no pool to fuse"
        raise ValueError(msg)
    chosen = original(layer) if form is None else form_operations(layer, form)
    return _counted(layer, chosen, operator, form)


def _counted(layer: ConvLayer, chosen: Operations, operator: str, form: str | None) -> LayerCount:
    """A layer in which each pool behind a nest is fused ([MLCNN]'s columns are its detail)."""
    before = original(layer)
    after = {reuse: fused(layer, reuse) for reuse in Reuse}
    multiplications = Multiplications(
        before.multiplications, before.multiplications, after[Reuse.SHARED].multiplications
    )
    kinds = (Reuse.LAR, Reuse.GAR, Reuse.PAPER, Reuse.ALGORITHM, Reuse.SHARED)
    additions = Additions(
        before.additions, before.additions, *(after[kind].additions for kind in kinds)
    )
    macs = layer.macs, chosen.multiplications
    return LayerCount(
        layer, operator, form, multiplications, additions, chosen, macs=macs, nonzero=macs
    )


def _changed(before: Operations, after: Operations, row: LayerCount) -> LayerCount:
    """The row of a layer that takes other operations now, with no pool fused."""
    a = after.additions
    return replace(
        row,
        multiplications=Multiplications(
            before.multiplications, before.multiplications, after.multiplications
        ),
        additions=Additions(before.additions, before.additions, a, a, a, a, a),
        chosen=after,
    )


def _took(layer: Layer | None, other: Layer | None) -> Operations:
    """What a layer executes, with the pool that stands behind it where the other is fused."""
    if layer is None:
        return Operations()
    took = executed_operations(layer)
    if other is None or layer.pool is not None or other.pool is None:
        return took
    if replace(other.nest, pool=None, name=layer.name) != layer.nest:
        return took
    pooling = original(other.nest).additions - original(layer.nest).additions
    return took + Operations(additions=pooling)


def _row(before: Layer | None, after: Layer | None) -> LayerCount:
    """One layer of two networks; of one alone where the other has nothing of its name."""
    layer = after or before
    if layer is None:
        raise ValueError("a row without a layer")
    was, executed = _took(before, after), _took(after, before)
    row = replace(
        _counted(layer.nest, executed, layer.operator, None if after is None else after.form),
        weights=str(layer.weights),
        stored=(
            Stored() if before is None else before.stored,
            Stored() if after is None else after.stored,
        ),
        macs=(_macs(before), _macs(after)),
        nonzero=(_nonzero(before), _nonzero(after)),
        numbers=layer.numbers,
        bitwise=_NO_BITS if after is None else bit_operations(after),
        old_form=None if before is None else before.form,
    )
    if row.fused and was == row.before:
        return row
    return row if was == executed == row.before else _changed(was, executed, row)


def _macs(layer: Layer | None) -> int:
    return 0 if layer is None else sum(part.macs for part in layer.parts)


def _nonzero(layer: Layer | None) -> int:
    return 0 if layer is None else nonzero_multiplications(layer)


def _as_it_was(layer: Layer) -> Layer:
    """The layer before a method made something else of it, as its record says."""
    if layer.form is None:
        return layer
    plain = replace(layer.nest, pool=None)
    return replace(
        layer,
        nest=plain,
        form=None,
        parts=(plain,),
        weights=DENSE,
        density=layer.density_before,
        stored=layer.before,
    )


def _merged(layers: Sequence[Layer]) -> Layer | None:
    """Several layers as one: the parts of all."""
    if not layers:
        return None
    first, *others = layers
    for other in others:
        first = replace(first, parts=first.parts + other.parts, stored=first.stored + other.stored)
    return first


def count(
    model: ir.Model,
    before: ir.Model | None = None,
    *,
    batch: int = 1,
    input_shape: InputShape | None = None,
    executed: bool = False,
) -> CountReport:
    """Count every convolution and dense layer of a network, against what it was before.

    Args:
        model: the network.
        before: the network to compare with, layer by layer, joined by name; None to compare with
            what the records in the network say of its layers.
        batch: images, where the network's batch is dynamic.
        input_shape: sizes for dynamic heights and widths; see ``mlcnn.workload.read``.
        executed: take ``before`` as it is executed, too, not as its records say that it was.

    Raises:
        InputError: the two networks share no layer name, or the shapes do not fit.
        UnsupportedError: a layer's sizes are not known.
    """
    after = read(model, batch=batch, input_shape=input_shape)
    old = None if before is None else read(before, batch=batch, input_shape=input_shape)
    return compare(after, old, executed=executed)


def compare(
    after: Workload, before: Workload | None = None, *, executed: bool = False
) -> CountReport:
    """The same of two workloads; see ``count``."""
    least = _least(after)
    if before is None:
        rows = [_row(_as_it_was(layer), layer) for layer in after.layers]
        return CountReport(tuple(rows), after.images, after.uncounted, least)
    old = before.layers if executed else tuple(map(_as_it_was, before.layers))
    pairs = joined(old, after.layers)
    uncounted = tuple(dict.fromkeys((*before.uncounted, *after.uncounted)))
    rows = [_row(layer, _merged(new)) for layer, new in pairs]
    return CountReport(tuple(rows), after.images, uncounted, least)


def _least(workload: Workload) -> Operations | None:
    """What runs at least, where that depends on the image; a mask may leave out all of a layer."""
    if not workload.is_dynamic:
        return None
    always = (layer for layer in workload.least if not layer.masks)
    return sum(map(executed_operations, always), Operations())
