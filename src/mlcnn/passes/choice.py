"""How ``fuse`` chooses a form per site: by a cost model, or by measurement (engines)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir

from mlcnn.counting import form_operations
from mlcnn.workload import ConvLayer

__all__ = ["KEEP", "Choice", "Chooser", "CostModel"]

KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen form and why.

    Attributes:
        form: name of the form, or ``keep`` to leave convolution and pool as they are.
        reason: the figures behind the choice, for the report.
    """

    form: str
    reason: str


class Chooser(Protocol):
    """Chooses the form of one site."""

    def choose(
        self, layer: ConvLayer | None, candidates: Mapping[str, Callable[[], ir.Model]]
    ) -> Choice:
        """Choose among ``candidates``.

        Args:
            layer: the convolution with its pool; None where height or width are dynamic.
            candidates: form -> builder of a small network that computes the site in that form,
                the activation behind it included; ``keep`` is the unfused site. All have the
                same one input and one output; the batch is dynamic.
        """
        ...


# Relative costs, fitted to no network here: a convolution runs near the machine's peak, a strided
# one reads its input in pieces, and everything that only moves data is bound by memory.
_MACS_PER_ELEMENT = 16.0  # multiply-accumulates in the time that one element is read or written
_STRIDED = 1.4
_NODE = 20_000.0  # multiply-accumulates in the time that one more node takes to start


class CostModel:
    """Chooses by an estimate of work and traffic, where nothing is measured.

    The estimate counts multiply-accumulates, elements read and written, and nodes. It is good for
    the order of forms that differ much; measure where it matters.
    """

    def choose(
        self, layer: ConvLayer | None, candidates: Mapping[str, Callable[[], ir.Model]]
    ) -> Choice:
        """Choose the form of least estimated cost; pool first where sizes are dynamic."""
        if layer is None or layer.pool is None:
            form = next((f for f in ("pool-first", "box", "expanded") if f in candidates), KEEP)
            return Choice(form, "height and width are dynamic: chosen without an estimate")
        costs = {form: _cost(form, layer) for form in candidates}
        best = min(costs, key=lambda form: costs[form])
        ratio = costs[KEEP] / costs[best]
        return Choice(best, f"estimated {ratio:.2f}x the speed of the unfused site")


def _cost(form: str, layer: ConvLayer) -> float:
    """Estimated cost of one image, in multiply-accumulates."""
    pool = layer.pool
    if pool is None:
        raise ValueError("a layer without pool")
    rows, columns = layer.pooled
    outputs, inputs = layer.K * rows * columns, layer.C * layer.H * layer.W
    window = math.prod(pool.kernel)
    per_group = layer.C // layer.G
    taps = layer.kernel_area
    fused = outputs * per_group * taps
    if form == KEEP:
        conv_outputs = layer.K * layer.P * layer.Q
        work = layer.macs + outputs * window
        return work + _MACS_PER_ELEMENT * (inputs + 2 * conv_outputs + outputs) + 2 * _NODE
    traffic = inputs + outputs
    if form == "pool-first":
        return fused + _MACS_PER_ELEMENT * (traffic + 2 * layer.C * rows * columns) + 2 * _NODE
    if form == "matvec":
        if 1 < layer.H * layer.W <= taps:
            return layer.K * inputs + _MACS_PER_ELEMENT * traffic + 3 * _NODE
        means = 0 if taps == 1 else inputs * taps
        return fused + means + _MACS_PER_ELEMENT * (traffic + layer.C * taps) + 4 * _NODE
    if form == "matmul":
        means = layer.C * taps * rows * columns
        work = fused + means * layer.H * layer.W
        return work + _MACS_PER_ELEMENT * 2 * (traffic + means) + 6 * _NODE
    if form == "expanded":
        work = form_operations(layer, form).multiplications * _STRIDED
        return work + _MACS_PER_ELEMENT * traffic + _NODE
    boxes = layer.C * layer.H * layer.W
    work = fused * _STRIDED + boxes * window
    return work + _MACS_PER_ELEMENT * (traffic + 2 * boxes) + 2 * _NODE
