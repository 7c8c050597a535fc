"""Convolutions in front of a moved pool, fitted to what the original network has behind it.

A rewritten network computes ``relu(mean(W x + b))`` where the original computes
``pool(relu(W x + b))``. The mean of a convolution is linear in its weights, so the weights that
come closest are a least-squares problem: one small linear system for each site, no training. A
target of zero is met by every mean that is not positive; the system is therefore solved a few
times, each time with the last prediction as the target where both are at most zero.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, fx, nn

from mlcnn.training.accuracy import placed_batches
from mlcnn.training.hardware import Hardware
from mlcnn.training.images import ImageSet, Normal

__all__ = ["FittedSite", "fit", "fitted_sites"]

_ROUNDS = 4
_RIDGE = 1e-3  # of the mean square of what the weights multiply, towards the weights as they were
_NUMBERS = 2**24  # of what the weights multiply, held at a time


@dataclass(frozen=True, slots=True)
class FittedSite:
    """A convolution, and what it is fitted to.

    Attributes:
        convolution: its name, the same in both networks.
        pool: of the average pool behind it in the rewritten network.
        target: of the pool in the original, whose output the ReLU behind ``pool`` is to give.
    """

    convolution: str
    pool: str
    target: str


def fitted_sites(rewritten: fx.GraphModule, original: fx.GraphModule) -> tuple[FittedSite, ...]:
    """Where ``convolution, ReLU, pool`` became ``convolution, average pool, ReLU``, in order.

    Where a batch norm, an addition or another activation stands between, statistics are
    re-estimated instead; grouped convolutions stay as they are.
    """
    before = {
        first: last for first, _, last in _chains(original, nn.ReLU, (nn.AvgPool2d, nn.MaxPool2d))
    }
    return tuple(
        FittedSite(convolution, pool, before[convolution])
        for convolution, pool, _ in _chains(rewritten, nn.AvgPool2d, nn.ReLU)
        if convolution in before
    )


def _chains(
    network: fx.GraphModule, second: type[nn.Module], third: "type[nn.Module] | tuple[type, ...]"
) -> Iterator[tuple[str, str, str]]:
    """Names of a convolution and the two modules behind it, which alone use what is before them."""
    modules = dict(network.named_modules())
    called = [str(node.target) for node in network.graph.nodes if node.op == "call_module"]
    for node in network.graph.nodes:
        chain = [node]
        while len(chain) < 3 and len(chain[-1].users) == 1:
            chain.append(next(iter(chain[-1].users)))
        if len(chain) < 3 or any(part.op != "call_module" for part in chain):
            continue
        names = [str(part.target) for part in chain]
        first = modules[names[0]]
        kinds = zip(names[1:], (second, third), strict=True)
        if (
            isinstance(first, nn.Conv2d)
            and first.groups == 1
            and called.count(names[0]) == 1  # one that is called twice has to suit both places
            and all(isinstance(modules[name], kind) for name, kind in kinds)
        ):
            yield names[0], names[1], names[2]


def fit(
    rewritten: nn.Module,
    original: nn.Module,
    site: FittedSite,
    images: ImageSet,
    *,
    normal: Normal,
    hardware: Hardware | None = None,
) -> None:
    """Fit the convolution of a site, in place, on what reaches it in the rewritten network.

    With sites in the order of the network, each is fitted behind those before it.

    Args:
        rewritten: on the device already; left in eval mode.
        original: likewise.
        site: one of ``fitted_sites(rewritten, original)``.
        images: what to fit on, without labels; some hundreds will do.
        normal: what the networks take for an image.
        hardware: where; on the processor by default. The systems are in float64.
    """
    rewritten.eval()
    original.eval()
    hardware = hardware or Hardware()
    convolution = cast("nn.Conv2d", rewritten.get_submodule(site.convolution))
    pool = rewritten.get_submodule(site.pool)
    before = _weights(convolution)
    with torch.no_grad(), hardware.autocast(), _Taken() as taken:
        taken.note(convolution)
        taken.note(original.get_submodule(site.target))
        for _ in range(_ROUNDS):
            system = _System.empty(before)
            for inputs in placed_batches(images, normal, hardware):
                rewritten(inputs)
                original(inputs)
                system.add_all(convolution, pool, taken.inputs[0], taken.outputs[1])
            _set_weights(convolution, system.solved(before))


def _weights(convolution: nn.Conv2d) -> Tensor:
    """Weights and bias as a float64 matrix, shape (out channels, in channels * kernel + 1)."""
    weight, bias = convolution.weight.detach(), convolution.bias
    column = torch.zeros_like(weight[:, 0, 0, 0]) if bias is None else bias.detach()
    return torch.cat([weight.flatten(1), column[:, None]], 1).double()


def _set_weights(convolution: nn.Conv2d, matrix: Tensor) -> None:
    convolution.weight.copy_(matrix[:, :-1].reshape(convolution.weight.shape))
    if convolution.bias is not None:
        convolution.bias.copy_(matrix[:, -1])


class _Taken(ExitStack):
    """What modules were last called with and returned, in the order they were noted."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: dict[int, Tensor] = {}
        self.outputs: dict[int, Tensor] = {}
        self._count = 0

    def note(self, module: nn.Module) -> None:
        index, self._count = self._count, self._count + 1

        def keep(_: nn.Module, given: tuple[Tensor, ...], returned: Tensor) -> None:
            self.inputs[index], self.outputs[index] = given[0].float(), returned.float()

        self.callback(module.register_forward_hook(keep).remove)


@dataclass(slots=True)
class _System:
    """The normal equations of ``weights @ means = targets``."""

    squares: Tensor
    products: Tensor

    @classmethod
    def empty(cls, weights: Tensor) -> "_System":
        size = weights.shape[1]
        return cls(weights.new_zeros(size, size), torch.zeros_like(weights))

    def add_all(
        self, convolution: nn.Conv2d, pool: nn.Module, inputs: Tensor, targets: Tensor
    ) -> None:
        """Add images, few at a time: the windows of many do not fit into memory."""
        outputs = inputs[0, 0].numel() // math.prod(convolution.stride)
        count = max(1, _NUMBERS // (self.squares.shape[0] * outputs))
        for part, wanted in zip(inputs.split(count), targets.split(count), strict=True):
            self.add(_means(convolution, pool, part), wanted, _weights(convolution))

    def add(self, means: Tensor, targets: Tensor, weights: Tensor) -> None:
        """Add places; means of shape (size, places), targets (images, channels, ...)."""
        wanted = targets.flatten(2).transpose(0, 1).flatten(1)
        predicted = weights.to(means) @ means
        wanted = torch.where(wanted > 0, wanted, predicted.clamp(max=0))
        self.squares += (means @ means.T).double()
        self.products += (wanted @ means.T).double()

    def solved(self, before: Tensor) -> Tensor:
        """The weights, drawn a little towards ``before`` so that few images decide them too."""
        ridge = _RIDGE * self.squares.diagonal().mean().clamp(min=1e-12)
        sums = self.squares + ridge * torch.eye(len(self.squares)).to(self.squares)
        return torch.linalg.solve(sums, (self.products + ridge * before).T).T


def _means(convolution: nn.Conv2d, pool: nn.Module, inputs: Tensor) -> Tensor:
    """What the weights multiply, averaged over the pool's windows, shape (size, places)."""
    # The assembled network has its padding in numbers, never as "same".
    padding = cast("tuple[int, ...]", convolution.padding)
    patches = F.unfold(
        inputs, convolution.kernel_size, convolution.dilation, padding, convolution.stride
    )
    patches = patches.reshape(len(inputs), -1, *convolution(inputs[:1]).shape[2:])
    biased = convolution.bias is not None
    # A bias is averaged like everything else; without one, its column has nothing to multiply.
    ones = torch.full_like(patches[:, :1], float(biased))
    pooled = pool(torch.cat([patches, ones], 1))
    return pooled.flatten(2).transpose(0, 1).flatten(1)
