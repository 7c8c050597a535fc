"""Post-training quantisation with bits of its own for every layer's weights and input."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.errors import InputError
from mlcnn.training.quantisation.calibration import observe
from mlcnn.training.quantisation.grid import WHOLE_BITS, Grid
from mlcnn.training.quantisation.observers import OBSERVERS, Histogram
from mlcnn.training.quantisation.placement import Layer, Placement, place
from mlcnn.training.quantisation.post_training import (
    LEAST_IMAGES,
    bias_corrections,
    folded,
    key_of,
    layer_codes,
    less,
)
from mlcnn.training.quantisation.writing import LayerCodes, write

__all__ = ["LEAST_WIDTH", "Narrowing", "Widths", "narrowing"]

Floats = NDArray[np.float32]

LEAST_WIDTH = 2
"""Bits: of one alone nothing but the sign is left, and that has to be trained."""


@dataclass(frozen=True, slots=True)
class Widths:
    """Bits by what has them.

    Attributes:
        weights: by the layer's name.
        inputs: by the name of the value, which several layers may read: it is rounded once.
    """

    weights: Mapping[str, int]
    inputs: Mapping[str, int]

    def less(self, kind: str, name: str) -> "Widths":
        """With one bit less.

        Args:
            kind: ``weights`` or ``inputs``.
            name: of the layer or of the value.
        """
        found = getattr(self, kind)
        return replace(self, **{kind: {**found, name: found[name] - 1}})


@dataclass(frozen=True, slots=True, eq=False)
class Narrowing:
    """A trained network and what calibration images say of it, for any bits.

    Weights have a step for each filter, values one step each. What layers read is rounded for all
    that read it, sums of a residual block among them: nothing but codes lies in memory.

    Attributes:
        model: the network in floats, batch norms folded.
        placement: what is rounded.
    """

    model: ir.Model
    placement: Placement
    _seen: Mapping[str, Histogram]
    _images: Floats
    _observer: str
    _corrections: dict[int, dict[str, Floats]] = field(default_factory=dict)
    _grids: dict[tuple[str, int], Grid] = field(default_factory=dict)
    _codes: dict[tuple[str, int], LayerCodes] = field(default_factory=dict)

    @property
    def whole(self) -> Widths:
        """Eight bits for all."""
        names = [layer.name for layer in self.placement.layers]
        return Widths(
            dict.fromkeys(names, WHOLE_BITS), dict.fromkeys(self.placement.values, WHOLE_BITS)
        )

    def readers(self, value: str) -> tuple[str, ...]:
        """Names of the layers that read a value."""
        return tuple(
            layer.name
            for layer in self.placement.layers
            if layer.node.inputs[0] is not None and layer.node.inputs[0].name == value
        )

    def with_widths(self, widths: Widths) -> ir.Model:
        """The network with ``QuantizeLinear`` and ``DequantizeLinear``, codes of so many bits."""
        grids = {name: self._grid(name, bits) for name, bits in widths.inputs.items()}
        codes = {
            key_of(layer): self._coded(layer, widths.weights[layer.name])
            for layer in self.placement.layers
        }
        return write(self.model, grids, codes, only_for=codes, for_sums=True)

    def _grid(self, value: str, bits: int) -> Grid:
        key = value, bits
        if key not in self._grids:
            ends = OBSERVERS[self._observer](self._seen[value], bits)
            self._grids[key] = Grid.over(*ends, bits)
        return self._grids[key]

    def _coded(self, layer: Layer, bits: int) -> LayerCodes:
        key = layer.name, bits
        if key not in self._codes:
            made = layer_codes(layer, bits)
            correction = self._corrected(bits).get(key_of(layer))
            self._codes[key] = replace(made, bias=less(made, correction))
        return self._codes[key]

    def _corrected(self, bits: int) -> dict[str, Floats]:
        """By how much rounding to so many bits moves each layer's mean outputs."""
        if bits not in self._corrections:
            self._corrections[bits] = bias_corrections(
                self.model, self.placement, bits, self._images
            )
        return self._corrections[bits]


def narrowing(
    model: ir.Model,
    images: Floats,
    *,
    observer: str = "mse",
    progress: Callable[[str, int, int], None],
) -> Narrowing:
    """Look at what a network's values take on, for codes of few bits.

    Args:
        model: the network, of one input; it is not changed.
        images: for calibration, as the network takes them.
        observer: how ranges are found, a name of ``OBSERVERS``.
        progress: told how the work goes on.

    Raises:
        InputError: too few images, or no layer that can be quantised.
    """
    if len(images) < LEAST_IMAGES:
        raise InputError(
            f"{len(images)} images for calibration, at least {LEAST_IMAGES} are needed; give more "
            "images"
        )
    model = folded(model)
    placement = place(model, joined=False)
    if not placement.layers:
        raise InputError(
            "nothing to quantise: the network has no convolution or dense layer of constant weights"
        )
    seen = observe(model, placement, images, progress)
    return Narrowing(model, placement, seen, images, observer)
