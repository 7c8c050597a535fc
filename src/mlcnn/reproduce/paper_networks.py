"""The networks of the paper's evaluation as layers, from the zoo's definitions without weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from torch import nn

from mlcnn.accelerators import LayerTask
from mlcnn.reproduce.structure import conv_layers, structure
from mlcnn.workload import Layer, Pool

__all__ = ["PAPER_NETWORKS", "paper_tasks"]

PAPER_NETWORKS = ("lenet5", "vgg16", "googlenet", "densenet_cifar")
"""Networks of [MLCNN] §VII: 2, 5, 12 and 3 fused layers."""

# The first convolution reads the image, and a dense layer the pooled map.
_NOT_SCALED = frozenset({"conv1", "linear"})
_HALVES, _WHOLE = Pool((2, 2), (2, 2)), Pool((8, 8), (1, 1))


@dataclass(frozen=True, slots=True)
class _Sites:
    """Where the pools of a network stand once they are moved.

    Attributes:
        pools: the average pool behind each fused convolution, by module name.
        normalised: whether batch norm and activation stand in front of every convolution.
        chained: convolutions that alone read what another wrote, apart from those in sequences.
    """

    pools: Mapping[str, Pool]
    normalised: bool = False
    chained: frozenset[str] = frozenset()


def _googlenet() -> dict[str, Pool]:
    """The last convolution of each branch of the modules in front of a pool (SPEC 1.4)."""
    ends = ("b1.0", "b2.3", "b3.6", "b4.1")
    pools = {"b3": _HALVES, "e4": _HALVES, "b5": _WHOLE}
    return {f"{module}.{end}": pool for module, pool in pools.items() for end in ends}


_SITES: Mapping[str, _Sites] = {
    "lenet5": _Sites({"conv1": _HALVES, "conv2": _HALVES}, chained=frozenset({"conv2"})),
    "vgg16": _Sites({f"features.{index}": _HALVES for index in (3, 10, 20, 30, 40)}),
    "googlenet": _Sites(_googlenet()),
    "densenet_cifar": _Sites(
        {f"trans{i}.conv": _HALVES for i in (1, 2, 3)},
        normalised=True,
        # The second convolution of a bottleneck reads the first's output, norm and all folded.
        chained=frozenset(
            f"dense{block}.{index}.conv2"
            for block, size in enumerate((6, 12, 24, 16), start=1)
            for index in range(size)
        ),
    ),
}


def paper_tasks(network: str, batch: int, *, fused_only: bool = False) -> tuple[LayerTask, ...]:
    """Layers of a network of the paper, its max pools replaced and its pools moved.

    Args:
        network: one of ``PAPER_NETWORKS``.
        batch: images.
        fused_only: the fused layers alone.

    Raises:
        KeyError: another network.
    """
    tasks = _tasks(network)
    chosen = [task for task in tasks if task.layer.pool is not None or not fused_only]
    return tuple(task.with_nest(replace(task.nest, N=batch)) for task in chosen)


@lru_cache
def _tasks(network: str) -> tuple[LayerTask, ...]:
    sites = _SITES[network]
    chained = _chained(structure(network)) | sites.chained
    return tuple(
        LayerTask(
            Layer(replace(layer, pool=sites.pools.get(layer.name))),
            scaled=sites.normalised and layer.name not in chained and layer.name not in _NOT_SCALED,
            sole_consumer=layer.name in chained,
        )
        for layer in conv_layers(network)
    )


def _chained(module: nn.Module) -> frozenset[str]:
    """Convolutions that read what the one before them in a sequence wrote."""
    found: set[str] = set()
    for name, part in module.named_modules():
        if not isinstance(part, nn.Sequential):
            continue
        convolutions = [key for key, child in part.named_children() if isinstance(child, nn.Conv2d)]
        found.update(f"{name}.{key}" for key in convolutions[1:])
    return frozenset(found)
