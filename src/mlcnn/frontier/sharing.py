"""How many kernels each layer shares, so that little is lost for what is left of the network.

Kernels that are shared are orthonormal, so that what a network loses with its coefficients is the
sum of their squares, and what it loses with single weights the sum of theirs: both can be compared
before anything is trained. Shared kernels need fewer numbers for as much, but they are multiplied
with every channel, whatever the coefficients are: on few channels that costs more than it saves.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn import nn
from mlcnn.graph import layer_name
from mlcnn.ops.shared_kernels import decomposed
from mlcnn.passes import pipeline
from mlcnn.training.pruning import Kernel, Quantity, kept_at_least, kernels_of

__all__ = ["AUTO", "Sharing", "priced", "sharing"]

AUTO = "auto"
"""In place of a number of kernels: what ``sharing`` finds for each layer."""

_OTHER: dict[Quantity, Quantity] = {
    "parameters": "multiplications",
    "multiplications": "parameters",
}
_STEPS = 40
_SCALES = (1e-9, 1e9)
_PRICES = (1e-3, 1.0)


@dataclass(frozen=True, slots=True)
class Sharing:
    """What was found for a share.

    Attributes:
        basis: as ``share-kernels`` takes it, ``layer2.0.conv2=6+layer3.0.conv1=5``; empty where
            no layer gains.
        price: what a share of the other quantity costs, where one of that asked for costs 1.
        left: shares that are left of the quantity asked for and of the other one, foreseen.
        lost: of the sum of squares of all weights.
    """

    basis: str
    price: float
    left: tuple[float, float]
    lost: float


@dataclass(frozen=True, slots=True)
class _Option:
    """A layer in one way: as it is, or with so many shared kernels.

    Attributes:
        basis: how many; 0 for the layer as it is.
        squares: of its weights or coefficients, the largest first, shape (weights,).
        kept: sum of the first 0, 1, 2, ... of them.
        unit: shares of both quantities that one of them costs, shape (2,).
        always: shares that the kernels cost.
        floor: how many stay, whatever they cost.
    """

    basis: int
    squares: NDArray[np.float64]
    kept: NDArray[np.float64]
    unit: NDArray[np.float64]
    always: NDArray[np.float64]
    floor: int

    def at(self, prices: NDArray[np.float64]) -> "_Taken":
        """As many as lose less than they cost."""
        unit = float(prices @ self.unit)
        count = len(self.squares) - int(np.searchsorted(self.squares[::-1], unit, side="right"))
        count = max(count, self.floor)
        return _Taken(self.basis, count * self.unit + self.always, float(self.kept[count]))


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a way leaves: how many shared kernels, shares of both quantities, sum of squares."""

    basis: int
    left: NDArray[np.float64]
    kept: float


@dataclass(frozen=True, slots=True)
class _Layer:
    name: str
    options: tuple[_Option, ...]

    def best(self, prices: NDArray[np.float64]) -> _Taken:
        """The way that keeps most for what it costs."""
        ways = [option.at(prices) for option in self.options]
        return max(ways, key=lambda way: way.kept - float(prices @ way.left))


def sharing(model: ir.Model, quantity: Quantity, share: float, *, ends: bool = False) -> Sharing:
    """How many kernels each layer shares, or none, when a network is cut down to a share.

    What is lost of the sum of squares of the weights is least, while no more is left of the other
    quantity (multiplications, of parameters) than if single weights were cut to the same share.
    Where that cannot be, a share of the one is worth as much as one of the other.

    Args:
        model: the network.
        quantity: what the share is of.
        share: what is left, 0 to 1.
        ends: whether the first and the last layer may be changed too.

    Raises:
        InputError: no kernels of the network can be shared.
    """
    layers = tuple(_layers(model, quantity, ends=ends))
    plain = [replace(layer, options=layer.options[:1]) for layer in layers]
    most = _left(_within(plain, share, 0.0))[1] * (1 + 1e-9)

    def needs(price: float) -> bool:
        return _left(_within(layers, share, price))[1] > most

    price = _least(lambda value: not needs(value), *_PRICES) if needs(0.0) else 0.0
    found = _within(layers, share, price)
    pairs = zip(layers, found, strict=True)
    basis = "+".join(f"{layer.name}={taken.basis}" for layer, taken in pairs if taken.basis)
    whole = sum(float(layer.options[0].kept[-1]) for layer in layers)
    lost = 1 - sum(taken.kept for taken in found) / whole
    first, second = _left(found).tolist()
    return Sharing(basis, price, (first, second), lost)


def _left(found: Sequence[_Taken]) -> NDArray[np.float64]:
    return np.sum([taken.left for taken in found], 0)


def _within(layers: Sequence[_Layer], share: float, price: float) -> list[_Taken]:
    """The ways that keep most of all that leave so much of the first quantity."""

    def at(scale: float) -> list[_Taken]:
        return [layer.best(scale * np.array([1.0, price])) for layer in layers]

    return at(_least(lambda scale: bool(_left(at(scale))[0] <= share), *_SCALES))


def _least(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The least number for which something holds that holds for all larger ones, if any."""
    for _ in range(_STEPS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _layers(model: ir.Model, quantity: Quantity, *, ends: bool) -> Iterator[_Layer]:
    module = nn.to_module(model)
    both = [kernels_of(model, each, ends=ends) for each in (quantity, _OTHER[quantity])]
    totals = np.array([sum(kernel.whole for kernel in kernels) for kernels in both])
    groups = _sharable(model)
    for kernel, other in zip(*both, strict=True):
        unit = np.array([kernel.unit, other.unit]) / totals
        weight = module.get_parameter(kernel.parameter).detach().double().numpy()
        length = 1.0 if kernel.factor is None else kernel.factor.norms(module, weight.ndim).numpy()
        floor = weight.size if kernel.fixed else kept_at_least(kernel)
        options = [_option(0, weight * length, unit, np.zeros(2), floor)]
        if kernel.layer in groups and not kernel.fixed:
            # A kernel is stored once, and meets every channel.
            meets = weight.shape[1] * groups[kernel.layer]
            times = [1 if each == "parameters" else meets for each in (quantity, _OTHER[quantity])]
            options += _shared(weight, unit, unit * times)
        yield _Layer(kernel.layer, tuple(options))


def _shared(
    weight: NDArray[np.float64], unit: NDArray[np.float64], tap: NDArray[np.float64]
) -> list[_Option]:
    """With 1, 2, ... shared kernels, of which each number costs so much."""
    taps = math.prod(weight.shape[2:])
    _, coefficients = decomposed(weight, taps)
    return [
        _option(count, coefficients[:, :, :count], unit, count * taps * tap, 1)
        for count in range(1, taps + 1)
    ]


def _option(
    basis: int,
    weights: NDArray[np.float64],
    unit: NDArray[np.float64],
    always: NDArray[np.float64],
    floor: int,
) -> _Option:
    squares = np.sort(np.square(weights), axis=None)[::-1]
    kept = np.concatenate([[0.0], squares.cumsum()])
    return _Option(basis, squares, kept, unit, always, min(floor, squares.size))


def _sharable(model: ir.Model) -> dict[str, int]:
    """The layers that ``share-kernels`` takes, with their groups."""
    result = pipeline.run(model, pipeline.parse("share-kernels{basis=1,layers=all}"))
    names = {change.nodes[0] for change in result.changes}
    return {
        name: node.attributes.get_int("group", 1)
        for node in model.graph
        if (name := layer_name(node)) in names and node.op_type == "Conv"
    }


def priced(
    kernels: Sequence[Kernel], model: ir.Model, quantity: Quantity, price: float
) -> tuple[Kernel, ...]:
    """Kernels whose weights go in the order in which ``sharing`` lets them go.

    Args:
        kernels: of the network with shared kernels, by the quantity.
        model: that network.
        quantity: what a share is of.
        price: see ``Sharing``.
    """
    others = kernels_of(model, _OTHER[quantity])
    totals = [sum(kernel.whole for kernel in each) for each in (kernels, others)]
    return tuple(
        replace(kernel, price=kernel.unit / totals[0] + price * other.unit / totals[1])
        for kernel, other in zip(kernels, others, strict=True)
    )
