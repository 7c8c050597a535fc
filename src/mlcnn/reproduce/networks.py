"""Table I of [MLCNN]: convolutional layers and parameters of the networks studied.

The printed numbers of parameters are those of the CIFAR networks of the zoo. Two of the printed
numbers of convolutions are not: they count the networks as first published. Both are computed
here from the zoo's modules, by the rules that the notes of the rows state.
"""

import itertools
from collections.abc import Callable, Mapping

from torch import nn

from mlcnn.reproduce.reproduction import (
    Number,
    Reproduction,
    Row,
    Tell,
    compared,
    published_rows,
)
from mlcnn.reproduce.structure import parameters, structure

__all__ = ["reproduce_networks"]

# Szegedy et al. 2015, Table 1: 7x7, 1x1 and 3x3 in front of the first module.
_INCEPTION_STEM = (1, 1, 1)
_Counted = tuple[tuple[int, ...], str]


def reproduce_networks(what: str, _: Tell) -> Reproduction:
    """Reproduce ``table-1``."""
    return Reproduction(what, tuple(_row(published) for published in published_rows(what)))


def _row(published: Mapping[str, str]) -> Row:
    module = structure(published["network"])
    computed, note = _COMPUTED[published["quantity"]](published["network"], module)
    printed = published["printed"]
    return compared(
        published, computed, f"printed {printed}; {note}" if note else f"printed {printed}"
    )


def _parameters_row(_: str, module: nn.Module) -> tuple[Number, str]:
    total = parameters(module)
    thousands = total // 1000
    return total, f"the K is a misprint: {total} is the number itself, {thousands} in thousands"


def _thousands_row(_: str, module: nn.Module) -> tuple[Number, str]:
    total = parameters(module)
    return total // 1000, f"exactly {total}; the fraction is cut off"


def _convolutions_row(name: str, module: nn.Module) -> tuple[Number, str]:
    counted, note = _STAGES.get(name, _stages)(module)
    return sum(counted), f"here {'+'.join(map(str, counted))}{note}"


def _stages(module: nn.Module) -> _Counted:
    """Convolutions between pools."""
    stages = [0]
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            stages[-1] += 1
        elif isinstance(part, nn.MaxPool2d | nn.AvgPool2d):
            stages.append(0)
    return tuple(stage for stage in stages if stage), ""


def _lenet(module: nn.Module) -> _Counted:
    """C5 of LeCun et al. 1998 is a convolution over the whole 5x5 map: a dense layer here."""
    stages, _ = _stages(module)
    maps = [part.out_channels for part in module.modules() if isinstance(part, nn.Conv2d)][-1]
    dense = [part.in_features for part in module.modules() if isinstance(part, nn.Linear)]
    whole_map = tuple(1 for inputs in dense[:1] if inputs > maps)
    note = (
        f" with C5, a dense layer over a map of {dense[0] // maps} positions, counted as a "
        f"convolution; {sum(stages)} without"
    )
    return (*stages, *whole_map), note


def _googlenet(module: nn.Module) -> _Counted:
    """Inception-v1 has three convolutions in the stem and one 5x5 where two 3x3 stand here."""
    groups = [
        [part for part in child.modules() if isinstance(part, nn.Conv2d)]
        for child in module.children()
    ]
    here = [len(group) for group in groups if group]
    stem, *modules = [group for group in groups if group]
    as_published = tuple(len(group) - _stacked(group) for group in modules)
    note = (
        f" as Inception-v1, with its stem of {len(_INCEPTION_STEM)} ({len(stem)} in the network of "
        f"these parameters) and each pair of 3x3 as the 5x5 that it stands for; {sum(here)} "
        "otherwise"
    )
    return (*_INCEPTION_STEM, *as_published), note


def _stacked(convolutions: list[nn.Conv2d]) -> int:
    """Pairs of 3x3 convolutions, one directly behind the other with as many channels."""
    return sum(
        first.kernel_size == second.kernel_size == (3, 3)
        and first.out_channels == second.in_channels == second.out_channels
        for first, second in itertools.pairwise(convolutions)
    )


_COMPUTED: Mapping[str, Callable[[str, nn.Module], tuple[Number, str]]] = {
    "convolutions": _convolutions_row,
    "parameters": _parameters_row,
    "thousands": _thousands_row,
}
_STAGES: Mapping[str, Callable[[nn.Module], _Counted]] = {
    "lenet5": _lenet,
    "googlenet": _googlenet,
}
