"""``fix-taps``: convolutions of a network that is to be trained get fixed taps [LBCNN].

A fixed tap is -1, 0 or 1, so that nothing is multiplied in front of the 1x1 convolutions, which
alone are trained. As in the authors' code, as many taps are drawn as ``sparsity`` says, with
replacement, each of a random sign: ``1 - exp(-sparsity)`` of them are not zero. They are stored as
codes with one step, which makes the outputs about as large as the inputs.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.errors import InputError
from mlcnn.graph import DEQUANTIZE, constant, layer_name
from mlcnn.ops import Convolution
from mlcnn.passes.base import Change
from mlcnn.passes.inner_layers import inner_convolution, inner_convolutions
from mlcnn.passes.rewriting import copy_node, emitter_for, install
from mlcnn.passes.skeleton import Candidate, SitePass, names

__all__ = ["FixTaps", "drawn_taps"]


def drawn_taps(
    shape: tuple[int, ...], sparsity: float, generator: np.random.Generator
) -> NDArray[np.int8]:
    """Taps of -1, 0 and 1, of which ``sparsity`` times their number are drawn with replacement."""
    size = math.prod(shape)
    taps = np.zeros(size, np.int8)
    places = generator.integers(0, size, round(sparsity * size))
    taps[places] = 2 * generator.integers(0, 2, len(places)).astype(np.int8) - 1
    return taps.reshape(shape)


@dataclass(frozen=True, slots=True)
class FixTaps(SitePass):
    """Give convolutions behind the first one fixed taps.

    Attributes:
        sparsity: draws by taps, above 0 and at most 1: .9 leaves 59 % not zero, .5 39 %.
        seed: the same seed gives the same taps.
        only: layer names; touch only these layers.
        exclude: layer names; leave these layers alone.
    """

    name: ClassVar[str] = "fix-taps"
    exact: ClassVar[bool] = False
    repeats: ClassVar[bool] = False
    sparsity: float = 0.9
    seed: int = 0
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.sparsity <= 1:
            raise InputError(
                f"{self.name}: sparsity={self.sparsity}: above 0 and at most 1 is required"
            )

    def nodes(self, model: ir.Model) -> Iterable[ir.Node]:
        """Convolutions of the main graph, in order."""
        return inner_convolutions(model)

    def look(self, model: ir.Model, node: ir.Node) -> Candidate | str | None:
        """A dense convolution of more than one tap that does not read the images."""
        layer = inner_convolution(model, node)
        if layer is None or isinstance(layer, str):
            return layer
        name = layer_name(node)
        return Candidate((name,), name, partial(self._rewrite, model, layer))

    def _rewrite(self, model: ir.Model, layer: Convolution) -> Change | str:
        weight, node = constant(layer.weight), layer.node
        if weight is None:
            return "its weight is not a constant"
        at = [item.name for item in inner_convolutions(model)].index(node.name)
        taps = drawn_taps(weight.shape, self.sparsity, np.random.default_rng([self.seed, at]))
        drawn = 1 - math.exp(-self.sparsity)
        step = 1 / math.sqrt(drawn * math.prod(weight.shape[1:]))
        emitter, output = emitter_for(model, layer), node.outputs[0]
        codes = emitter.codes(taps, "taps")
        scale = emitter.weight(np.asarray(step), "step")
        fixed = emitter.op(DEQUANTIZE, [codes, scale])
        made = copy_node(node, [node.inputs[0], fixed, *node.inputs[2:]])
        emitter.nodes.append(made)
        change = Change(
            self.name, (layer.name,), exact=False, inputs=names(node.inputs[0]),
            outputs=names(output),
            reason=f"{np.count_nonzero(taps)} of {taps.size} taps are 1 or -1",
        )  # fmt: skip
        install(model, emitter, output, made.outputs[0], anchor=node)
        return change
