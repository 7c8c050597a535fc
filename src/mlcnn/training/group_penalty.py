"""A penalty that shrinks whole channels, until what is cut weight by weight leaves none of them."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from mlcnn.errors import InputError
from mlcnn.training.channel_groups import ChannelGroup
from mlcnn.training.hooks import Penalty

__all__ = ["group_lasso", "group_penalty", "require_penalty"]


def group_lasso(groups: Sequence[ChannelGroup], module: nn.Module) -> Tensor:
    """``sum over channels of sqrt(n) ||w||_2`` [Wen 2016, Eq. 2; Yuan 2006], a scalar, float32.

    w are the n weights that convolutions and dense layers have of a channel, in all layers that
    make or read it. The gradient of a channel of zeros is zero.

    Args:
        groups: the channels.
        module: that has them.
    """
    found = [
        math.sqrt(group.weights(module)) * _lengths(group.squares(module)).sum() for group in groups
    ]
    return torch.stack(found).sum()


def _lengths(squares: Tensor) -> Tensor:
    # The square root has no finite slope at zero; its argument gets none below what is a number.
    return squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt() * (squares > 0)


def group_penalty(groups: Sequence[ChannelGroup], weight: float) -> Penalty:
    """The hook that adds ``weight`` times ``group_lasso`` to the loss.

    Raises:
        InputError: the weight is not a number above 0.
    """
    require_penalty(weight)
    return Penalty(partial(group_lasso, groups), weight, f"group lasso of {len(groups)} groups")


def require_penalty(weight: float) -> None:
    """Refuse what is no weight of a penalty.

    Raises:
        InputError: it is negative, or no number.
    """
    if not 0 <= weight < math.inf:
        raise InputError(f"--group-penalty {weight:g}: a number of at least 0 is required")
