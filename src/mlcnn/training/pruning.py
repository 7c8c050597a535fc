"""Weights that go while a network trains: step by step, the least important first, for good.

What has gone is zero, and nothing else remembers it: the masks are read from the weights, so that a
resumed run masks what the interrupted one did, and a network that was compressed once stays so.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import onnx_ir as ir
import torch
from torch import Tensor, nn

from mlcnn.errors import InputError
from mlcnn.graph import layer_name
from mlcnn.nn.assemble import assemble
from mlcnn.ops import Method, method_of
from mlcnn.training.hardware import Hardware
from mlcnn.training.hooks import Hook, Step
from mlcnn.workload import Layer, read

__all__ = [
    "Cut",
    "Factor",
    "Kernel",
    "Part",
    "Pruning",
    "Quantity",
    "Schedule",
    "WeightCut",
    "kept_at_least",
    "kernels_of",
]

Quantity = str
"""What a share is of: ``parameters`` or ``multiplications``."""

_FLOOR = 0.01


@dataclass(frozen=True, slots=True)
class Factor:
    """Another parameter of a layer that its weights are multiplied with.

    Attributes:
        parameter: its name in the module.
        axis: of it that goes along with ``along``.
        along: axis of the weights.
    """

    parameter: str
    axis: int
    along: int

    def norms(self, module: nn.Module, dimensions: int) -> Tensor:
        """The length of what each weight is multiplied with, to be multiplied into weights."""
        other = module.get_parameter(self.parameter).detach().float()
        lengths = other.movedim(self.axis, 0).flatten(1).norm(dim=1)
        return lengths.reshape([-1 if d == self.along else 1 for d in range(dimensions)])


@dataclass(frozen=True, slots=True)
class Kernel:
    """The weights of a layer, and what one of them costs.

    Attributes:
        layer: the layer's name.
        parameter: its name in the module.
        shape: of it, as the module keeps it.
        unit: what one weight costs: 1 of parameters, the positions that it meets of
            multiplications.
        whole: what the layer costs with dense weights; 0 where another kernel of it says so.
        transposed: whether the network has it the other way round.
        fixed: whether it stays whole.
        factor: what each weight is multiplied with before it counts; None for nothing.
        price: what one weight costs when it is decided which go; None for its ``unit``.
    """

    layer: str
    parameter: str
    shape: tuple[int, ...]
    unit: float
    whole: float
    transposed: bool = False
    fixed: bool = False
    factor: Factor | None = None
    price: float | None = None

    @property
    def cost(self) -> float:
        """Of all its weights."""
        return self.unit * math.prod(self.shape)


class Cut(Protocol):
    """What goes, and in which order."""

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """All of the network."""
        ...

    @property
    def told(self) -> str:
        """What a checkpoint remembers of it."""
        ...

    @property
    def least(self) -> float:
        """The smallest share that it can leave, 0 to 1."""
        ...

    def parts(self) -> "tuple[Part, ...]":
        """Every layer or group that it cuts, by itself."""
        ...

    def left(self, module: nn.Module) -> float:
        """The share that is there, 0 to 1: less than 1 in a network that was cut before."""
        ...

    def cut(self, module: nn.Module, share: float) -> None:
        """Set to zero what is least important, until at most ``share`` of the cost is left.

        Called with gradients of the last batch in place.
        """
        ...

    def masks(self, module: nn.Module) -> Mapping[str, Tensor]:
        """By parameter name: true where the parameter may be other than zero."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """A layer or group by itself.

    Attributes:
        name: of the layer; of a group, that of the first one in it.
        cut: cuts nothing else.
        share: what is left of the network with half of it gone.
    """

    name: str
    cut: Cut
    share: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """How much is left, from all to a share: ``s + (1 - s) (1 - t)^3`` [Zhu 2018, Eq. 1].

    Attributes:
        share: s, what is left in the end, above 0, at most 1.
        first: epochs before the first cut.
        last: epochs before the last one.
    """

    share: float
    first: float
    last: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or not 0 <= self.first < self.last:
            raise InputError(
                "a schedule needs a share above 0 and at most 1, and an end behind its beginning, "
                f"got {self.share:g} from epoch {self.first:g} to {self.last:g}"
            )

    def progress(self, position: float) -> float:
        """t, 0 to 1, after so many epochs."""
        return min(max((position - self.first) / (self.last - self.first), 0.0), 1.0)

    def at(self, position: float) -> float:
        """The share that is left after so many epochs."""
        return self.share + (1 - self.share) * (1 - self.progress(position)) ** 3


@dataclass(slots=True)
class Pruning(Hook):
    """Cuts by a schedule; what was cut stays zero through momentum and weight decay.

    Attributes:
        cut: what goes.
        schedule: when.
        cuts: how often.
    """

    cut: Cut
    schedule: Schedule
    cuts: int = 50
    _share: float | None = field(default=None, init=False, repr=False)
    _masks: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor], init=False, repr=False)

    @property
    def told(self) -> str:
        """What goes, and when."""
        return f"Pruning({self.cut.told}, {self.schedule}, {self.cuts} cuts)"

    def start(self, module: nn.Module, images: int, hardware: Hardware) -> None:
        """Refuses a share that the cut cannot leave."""
        del module, images, hardware
        if self.schedule.share < self.cut.least:
            raise InputError(
                f"{self.schedule.share:.2%} cannot be left: {self.cut.told} leave at least "
                f"{self.cut.least:.2%}"
            )

    def loss(self, step: Step, loss: Tensor) -> Tensor:
        """The loss as it is; notes whether a cut is due behind the backward pass."""
        after = step.position + step.length
        done, now = (self._made(position) for position in (step.position, after))
        self._share = self.schedule.at(after) if now > done else None
        return loss

    def _made(self, position: float) -> int:
        """Cuts until then; what is short of one by rounding alone is one."""
        return math.floor(self.cuts * self.schedule.progress(position) + 1e-6)

    def gradients(self, module: nn.Module) -> None:
        """Cuts where it is due, and clears the gradients of what is gone."""
        if self._share is not None:
            with torch.no_grad():
                self.cut.cut(module, self._share)
        self._masks = self.cut.masks(module)
        for name, parameter in module.named_parameters():
            if name in self._masks and parameter.grad is not None:
                parameter.grad.mul_(self._masks[name])

    def stepped(self, module: nn.Module) -> None:
        """Undoes what the momentum of earlier steps did to weights that are gone."""
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name in self._masks:
                    parameter.mul_(self._masks[name])

    def may_end(self, epochs: int) -> bool:
        """Whether the last cut is made."""
        return epochs >= self.schedule.last


def kernels_of(model: ir.Model, quantity: Quantity, *, ends: bool = False) -> tuple[Kernel, ...]:
    """The weights of the convolutions and dense layers of a network, in order.

    Weights that several layers share stand once, under the first one's name, and cost for all.

    Args:
        model: the network; ``nn.to_module`` makes the module of it.
        quantity: what is counted.
        ends: whether the first and the last layer may be cut too.

    Raises:
        InputError: there are none.
        UnsupportedError: sizes are dynamic, and multiplications are to be counted.
    """
    reader, workload = _Reader(model, quantity), read(model)
    # A workload has an operator's body in its place.
    operators = {layer_name(node): (node,) for node in model.graph if method_of(node)}
    found: dict[str, Kernel] = {}
    for layer, body in zip(workload.layers, workload.nodes, strict=True):
        nodes = operators.get(layer.name, body)
        for kernel in (k for node in nodes for k in reader.kernels(layer, node, workload.images)):
            before = found.get(kernel.parameter)
            if before is not None and quantity != "parameters":
                unit, whole = before.unit + kernel.unit, before.whole + kernel.whole
                kernel = replace(kernel, layer=before.layer, unit=unit, whole=whole)  # noqa: PLW2901
            found[kernel.parameter] = before if before and quantity == "parameters" else kernel
    kernels = tuple(found.values())
    if not kernels:
        raise InputError("the network has no convolution and no dense layer whose weights train")
    return kernels if ends or len(kernels) < 3 else _with_ends(kernels)


def _with_ends(kernels: Sequence[Kernel]) -> tuple[Kernel, ...]:
    layers = {kernels[0].layer, kernels[-1].layer}
    return tuple(replace(k, fixed=k.fixed or k.layer in layers) for k in kernels)


class _Reader:
    """Finds the kernels of layers among the parameters of a network's module."""

    def __init__(self, model: ir.Model, quantity: Quantity) -> None:
        assembly = assemble(model)
        self._bound = {binding.initializer: binding for binding in assembly.bindings}
        self._parameters = dict(assembly.module.named_parameters())
        self._counts_numbers = quantity == "parameters"

    def kernels(self, layer: Layer, node: ir.Node, images: int) -> Iterator[Kernel]:
        """Of a node of a layer: what can be cut, and before that what it is multiplied with.

        Args:
            layer: what the node is a part of.
            node: of the network.
            images: in a batch.
        """
        method = method_of(node)
        main = 1 if method is None or method.row_input is None else method.row_input
        weights = self._weights(node, main)
        if main not in weights:
            return
        dense = math.prod((layer.nest.K, layer.nest.C // layer.nest.G, layer.nest.kernel_area))
        whole = float(dense) if self._counts_numbers else layer.nest.macs / images
        of_all, of_others = whole, 0.0
        if method is not None and method.nonzero is not None and not self._counts_numbers:
            of_others, of_all = (
                method.nonzero(replace(layer, density=share)) / images for share in (0.0, 1.0)
            )
        factor = None
        for index in sorted(weights.keys() - {main}):
            name, shape, _ = weights[index]
            unit = 1.0 if self._counts_numbers else of_others / math.prod(shape)
            factor = self._factor(method, index, main, name)
            yield Kernel(layer.name, name, shape, unit, 0.0, fixed=True)
        name, shape, flipped = weights[main]
        unit = 1.0 if self._counts_numbers else (of_all - of_others) / math.prod(shape)
        yield Kernel(layer.name, name, shape, unit, whole, flipped, factor=factor)

    def _weights(self, node: ir.Node, last: int) -> dict[int, tuple[str, tuple[int, ...], bool]]:
        """By input of a node, up to one of them: name, shape and whether it is transposed."""
        found: dict[int, tuple[str, tuple[int, ...], bool]] = {}
        for index, value in enumerate(node.inputs[1 : last + 1], 1):
            binding = None if value is None else self._bound.get(value.name or "")
            if binding is not None:
                name = f"{binding.path}.{binding.weight.name}"
                shape = tuple(self._parameters[name].shape)
                found[index] = name, shape, binding.weight.transposed
        return found

    @staticmethod
    def _factor(method: Method | None, index: int, main: int, name: str) -> Factor | None:
        """What an input is to the weights, if the operator says along which axes they go."""
        axes = dict(() if method is None or method.channels is None else method.channels.shared)
        return Factor(name, axes[index], axes[main]) if {index, main} <= axes.keys() else None


@dataclass(frozen=True, slots=True)
class WeightCut:
    """Single weights, the smallest of all layers first.

    Where one costs more than another, those whose square is small for what they cost: that loses
    the least of the sum of squares for a cost. A hundredth of each layer stays, its largest.

    Attributes:
        kernels: all of the network.
        by_deviation: go by the size over the standard deviation of the layer's weights instead,
            whatever one costs: what goes in each layer is below a threshold of as many deviations.
    """

    kernels: tuple[Kernel, ...]
    by_deviation: bool = False

    @property
    def told(self) -> str:
        """Weights of how many layers."""
        ranked = " in standard deviations" if self.by_deviation else ""
        return f"single weights of {len(self._open)} layers{ranked}"

    @property
    def _open(self) -> tuple[Kernel, ...]:
        return tuple(kernel for kernel in self.kernels if not kernel.fixed)

    @property
    def least(self) -> float:
        """What the layers that stay, and the floor of the others, cost."""
        fixed = sum(kernel.cost for kernel in self.kernels if kernel.fixed)
        floors = sum(kernel.unit * kept_at_least(kernel) for kernel in self._open)
        return (fixed + floors) / self._whole

    @property
    def _whole(self) -> float:
        """What the network costs with dense weights: what a share is a share of."""
        return sum(kernel.whole for kernel in self.kernels)

    def parts(self) -> tuple[Part, ...]:
        """See ``Cut``."""
        all_of_it = sum(kernel.cost for kernel in self.kernels)
        return tuple(
            Part(
                chosen.layer,
                replace(
                    self, kernels=tuple(replace(k, fixed=k is not chosen) for k in self.kernels)
                ),
                (all_of_it - chosen.cost / 2) / self._whole,
            )
            for chosen in self._open
        )

    def left(self, module: nn.Module) -> float:
        """See ``Cut``."""
        there = sum(
            k.unit * int(module.get_parameter(k.parameter).count_nonzero()) for k in self.kernels
        )
        return there / self._whole

    def cut(self, module: nn.Module, share: float) -> None:
        """See ``Cut``."""
        weights = [module.get_parameter(kernel.parameter) for kernel in self._open]
        scores = torch.cat([self._scores(kernel, module) for kernel in self._open])
        units = torch.cat(
            [
                torch.full((w.numel(),), k.unit, dtype=torch.float64, device=w.device)
                for k, w in zip(self._open, weights, strict=True)
            ]
        )
        fixed = sum(kernel.cost for kernel in self.kernels if kernel.fixed)
        limit = share * self._whole - fixed
        order = scores.argsort(descending=True, stable=True)
        kept = torch.empty_like(order, dtype=torch.bool)
        kept[order] = units[order].cumsum(0) <= limit * (1 + 1e-9)
        for weight, mask in zip(weights, kept.split([w.numel() for w in weights]), strict=True):
            weight.mul_(mask.reshape(weight.shape))

    def masks(self, module: nn.Module) -> dict[str, Tensor]:
        """See ``Cut``; zeros of layers that are not cut are left alone."""
        return {k.parameter: module.get_parameter(k.parameter) != 0 for k in self._open}

    def _scores(self, kernel: Kernel, module: nn.Module) -> Tensor:
        """How much each weight matters, shape (weights,): infinitely for those of the floor."""
        weights = module.get_parameter(kernel.parameter).detach().float()
        scores = (_deviations if self.by_deviation else _losses)(kernel, module, weights)
        scores[scores.topk(kept_at_least(kernel)).indices] = math.inf
        return scores


def kept_at_least(kernel: Kernel) -> int:
    """How many weights of a layer stay, whatever they cost: a hundredth."""
    return max(1, math.floor(_FLOOR * math.prod(kernel.shape)))


def _losses(kernel: Kernel, module: nn.Module, weights: Tensor) -> Tensor:
    """What the layer loses without each weight, for what it costs, shape (weights,)."""
    sizes = weights.abs()
    if kernel.factor is not None:
        sizes = sizes * kernel.factor.norms(module, sizes.ndim)
    price = kernel.unit if kernel.price is None else kernel.price
    return sizes.reshape(-1) / math.sqrt(price)


def _deviations(kernel: Kernel, module: nn.Module, weights: Tensor) -> Tensor:
    """The size of each weight in standard deviations of all of them, shape (weights,)."""
    del kernel, module
    return weights.abs().reshape(-1) / weights.std(correction=0)
