"""Weights and what they are multiplied with, trained in turn: how PENNI trains [Li 2020, Sec. 3].

Coefficients and the bases that they scale take turns, with a penalty on the size of coefficients;
then those below s standard deviations of their layer are cut at once, and the rest is tuned.

Where this is not what the authors' code does: they train on labels alone, for 100 epochs, at a
fixed s = 1, and tune for 30 more; here the loss is that of the other methods, the cut comes where
their last one does, and s is what leaves the share that is asked for, one for all layers. What is
at rest is at rest: theirs is still moved by momentum and decay where gradients are cleared to zero.
A hundredth of each layer stays, and the first and the last layer are whole where the cut says so.
"""

import torch
from torch import Tensor, nn

from mlcnn.errors import InputError
from mlcnn.training.hooks import Hook, Penalty, Phase, Phases
from mlcnn.training.pruning import Cut, Pruning, Schedule

__all__ = ["alternating"]

_PHASES = 20  # their default: 5 epochs of 100
_SIZE = 1e-4  # their gamma


def alternating(cut: Cut, schedule: Schedule) -> tuple[Pruning, Hook, Hook]:
    """The one cut, the penalty, and the phases; coefficients train first.

    Args:
        cut: what goes.
        schedule: the share that is left in the end, and when the cut is made; penalty and phases
            end there.

    Raises:
        InputError: no layer has weights that are multiplied with others.
    """
    factors = [kernel for kernel in cut.kernels if kernel.factor is not None]
    if not factors:
        raise InputError("no layer of the network is a product of two that could train in turn")
    coefficients = tuple(kernel.parameter for kernel in factors)
    bases = tuple(kernel.factor.parameter for kernel in factors if kernel.factor is not None)
    penalised = tuple(kernel.parameter for kernel in cut.kernels if not kernel.fixed)

    def size(module: nn.Module) -> Tensor:
        return torch.stack([module.get_parameter(name).abs().sum() for name in penalised]).sum()

    length = schedule.last / _PHASES
    cycle = (Phase(length, resting=bases), Phase(length, resting=coefficients))
    return (
        Pruning(cut, schedule, cuts=1),
        Penalty(size, _SIZE, "sum of sizes", schedule.last),
        Phases(cycle, schedule.last),
    )
