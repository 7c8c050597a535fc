"""A network that trains with its rounding, and the same in codes.

Activations are rounded where calibration rounds them; where they are cut off may be learnt. Batch
norms stay whole while it trains, and become part of their layers afterwards: that scales the steps
of weights, and leaves their codes. Where engines compute in integers, biases are rounded as these
round them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mlcnn.nn import to_module, write_weights
from mlcnn.nn.assemble import Assembly, assemble
from mlcnn.training.quantisation.activations import InputRange, LearntClip
from mlcnn.training.quantisation.biases import put_bias_on_grid
from mlcnn.training.quantisation.calibration import observe
from mlcnn.training.quantisation.dorefa import WeightQuantiser, WeightRange
from mlcnn.training.quantisation.grid import LEAST_STEP, WHOLE_BITS, Grid
from mlcnn.training.quantisation.observers import OBSERVERS
from mlcnn.training.quantisation.placement import (
    Layer,
    Placement,
    layers_of,
    norm_behind,
    norms_in_front,
    place,
)
from mlcnn.training.quantisation.post_training import folded
from mlcnn.training.quantisation.writing import LayerCodes, mark, read_value, write

__all__ = ["Rounded", "rounded_module"]

Floats = NDArray[np.float32]
Progress = Callable[[str, int, int], None]

_OBSERVER = "mse"
_PARAMETRIZED = re.compile(r"\.parametrizations\.(\w+)\.original$")


@dataclass(frozen=True, slots=True, eq=False)
class Rounded:
    """A network that trains with its rounding.

    Attributes:
        module: to be trained; the weights of its layers are parametrised.
        network: the network that it was made from, in floats.
        grids: of the activations, by name, before the training.
        clips: of the activations whose clip is learnt, by name.
        quantisers: of the weights: the module's layer and its quantiser, by the layer's name.
        joined: whether all nodes read what is rounded, or layers only.
    """

    module: nn.Module
    network: ir.Model
    grids: Mapping[str, Grid]
    clips: Mapping[str, LearntClip]
    quantisers: Mapping[str, tuple[str, WeightQuantiser]]
    joined: bool

    def to_codes(self) -> ir.Model:
        """The trained network in codes: what the module computes in eval mode."""
        clips = {id(clip.clip) for clip in self.clips.values()}
        state = {
            _PARAMETRIZED.sub(r".\1", name): tensor.detach()
            for name, tensor in self.module.state_dict(keep_vars=True).items()
            if id(tensor) not in clips
        }
        codes: dict[str, Tensor] = {}
        for name, (path, quantiser) in self.quantisers.items():
            weight = state[f"{path}.weight"]
            codes[name] = quantiser.codes(weight).cpu()
            state[f"{path}.weight"] = quantiser(weight)
        plain = to_module(self.network)
        plain.load_state_dict(state)
        done = folded(write_weights(plain, self.network))
        layers = {
            layer.node.outputs[0].name or "": _layer_codes(layer, codes[layer.name])
            for layer in layers_of(done)
        }
        return write(
            done,
            {**self.grids, **{name: clip.grid for name, clip in self.clips.items()}},
            layers,
            rounded_biases=self.joined,
            only_for=None if self.joined else layers,
        )


def _layer_codes(layer: Layer, codes: Tensor) -> LayerCodes:
    """A layer's codes, with what its batch norm made of the steps and the bias."""
    ordered = np.moveaxis(layer.weight, layer.axis, 0).reshape(len(codes), -1).astype(np.float64)
    whole = codes.reshape(len(codes), -1).numpy().astype(np.float64)
    squares = np.maximum((whole**2).sum(1), 1)
    steps = (ordered * whole).sum(1) / squares
    signs = np.where(steps < 0, -1, 1)  # a norm may turn a filter around
    steps = np.maximum(np.abs(steps), LEAST_STEP).astype(np.float32)
    signed = (whole * signs[:, None]).astype(np.int8).reshape(codes.shape)
    moved = np.ascontiguousarray(np.moveaxis(signed, 0, layer.axis))
    return LayerCodes(moved, steps, layer.axis, layer.bias, layer.index, layer.adds_chosen)


def rounded_module(
    model: ir.Model,
    images: Floats,
    *,
    weight_bits: int,
    input_bits: int,
    kind: WeightRange = WeightRange.SIGMA,
    input_range: InputRange = InputRange.LEARNED,
    progress: Progress,
) -> Rounded:
    """A trained network with DoReFa's rounding, ready to be fine-tuned.

    The first layer and the last one keep 8 bits, and the calibrated range. Activations that may be
    negative keep it, too.

    Args:
        model: the network, batch norms whole; it is not changed.
        images: for calibration, as the network takes them.
        weight_bits: of a weight's code.
        input_bits: of an activation's code.
        kind: what weights are divided by before they are rounded.
        input_range: where activations are cut off.
        progress: told how the work goes on.
    """
    joined = input_bits == WHOLE_BITS
    flat = folded(model)
    placement = place(flat, joined=joined)
    seen = observe(flat, placement, images, progress)
    wide = {_read(placement, layer) for layer in (placement.layers[0], placement.layers[-1])}
    grids: dict[str, Grid] = {}
    for name in placement.values:
        bits = WHOLE_BITS if placement.leader(name) in wide else input_bits
        grids[name] = Grid.over(*OBSERVERS[_OBSERVER](seen[name], bits), bits)
    free = {name for name in grids if grids[name].zero == 0 and placement.leader(name) not in wide}
    if input_range is InputRange.UNIT:
        grids |= {name: Grid.over(0, 1, input_bits) for name in free}
    layers = tuple(layers_of(model))
    reading = (*(layer.node for layer in layers), *norms_in_front(layers))
    readers = None if joined else [node.outputs[0].name or "" for node in reading]
    learnt = free if input_range is InputRange.LEARNED else set[str]()
    fixed = {name: grid for name, grid in grids.items() if name not in learnt}
    marked, marks = mark(write(model, fixed, {}, only_for=readers), sorted(learnt), readers)
    assembly = assemble(marked)
    clips = _with_clips(assembly, marks, placement, grids)
    quantisers = _with_quantisers(assembly, layers, weight_bits, kind)
    if joined:
        _put_biases(assembly, layers, quantisers, grids, clips)
    return Rounded(assembly.module, model, grids, clips, quantisers, joined)


def _read(placement: Placement, layer: Layer) -> str:
    """The value whose grid that has which a layer reads."""
    return placement.leader(read_value(layer.node, placement.values) or "")


def _with_clips(
    assembly: Assembly,
    marks: Mapping[str, str],
    placement: Placement,
    grids: Mapping[str, Grid],
) -> dict[str, LearntClip]:
    """Let clips be learnt at the marks, one for all values that share a grid; see ``Rounded``."""
    made: dict[str, LearntClip] = {}
    for name in marks:
        leader = placement.leader(name)
        if leader not in made:
            made[leader] = LearntClip(grids[name])
        assembly.module.set_submodule(assembly.paths[marks[name]], made[leader])
    return {name: made[placement.leader(name)] for name in marks}


def _path(assembly: Assembly, value: ir.Value | None) -> str:
    """The module that a weight became part of."""
    name = None if value is None else value.name
    return next(binding.path for binding in assembly.bindings if binding.initializer == name)


def _with_quantisers(
    assembly: Assembly, layers: Sequence[Layer], weight_bits: int, kind: WeightRange
) -> dict[str, tuple[str, WeightQuantiser]]:
    """Round the weights of the module's layers; see ``Rounded``."""
    found: dict[str, tuple[str, WeightQuantiser]] = {}
    for layer in layers:
        bits = WHOLE_BITS if layer in {layers[0], layers[-1]} else weight_bits
        path = _path(assembly, layer.node.inputs[layer.index])
        quantiser = WeightQuantiser(bits, kind)
        module = assembly.module.get_submodule(path)
        parametrize.register_parametrization(module, "weight", quantiser)
        found[layer.name] = (path, quantiser)
    return found


def _put_biases(
    assembly: Assembly,
    layers: Sequence[Layer],
    quantisers: Mapping[str, tuple[str, WeightQuantiser]],
    grids: Mapping[str, Grid],
    clips: Mapping[str, LearntClip],
) -> None:
    """Round the biases as ``write`` does when batch norms have become part of their layers."""
    for layer in layers:
        read = read_value(layer.node, grids)
        if read is None or layer.adds_chosen:
            continue
        path, quantiser = quantisers[layer.name]
        node = norm_behind(layer.node)
        norm = None if node is None else _path(assembly, node.inputs[1])
        module = assembly.module
        put_bias_on_grid(
            module.get_submodule(path),
            None if norm is None else module.get_submodule(norm),
            quantiser,
            partial(_step, clips.get(read, grids[read])),
        )


def _step(rounding: LearntClip | Grid) -> float:
    return rounding.grid.step if isinstance(rounding, LearntClip) else rounding.step
