"""The optimizer of a recipe, its parameter groups, and its state as plain tensors."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from mlcnn.training.hooks import Group, Hook
from mlcnn.training.recipe import Optimizer, Recipe

__all__ = ["make_optimizer", "optimizer_tensors", "restore_optimizer"]


def make_optimizer(
    module: nn.Module, recipe: Recipe, hooks: Sequence[Hook]
) -> torch.optim.Optimizer:
    """The optimizer of the parameters that train; each group has a ``rate``, the factor of the lr.

    Args:
        module: what trains.
        recipe: which optimizer.
        hooks: those that name parameter groups; the first that names a parameter counts.
    """
    wanted = [*(group for hook in hooks for group in hook.groups()), Group(("*",))]
    members: list[list[nn.Parameter]] = [[] for _ in wanted]
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            chosen = next(i for i, group in enumerate(wanted) if _names(group, name))
            members[chosen].append(parameter)
    groups: list[dict[str, Any]] = [
        {
            "params": parameters,
            "rate": group.rate,
            "weight_decay": recipe.weight_decay
            if group.weight_decay is None
            else group.weight_decay,
        }
        for group, parameters in zip(wanted, members, strict=True)
        if parameters
    ]
    if recipe.optimizer is Optimizer.ADAMW:
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999))
    return torch.optim.SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov
    )


def _names(group: Group, parameter: str) -> bool:
    return any(fnmatchcase(parameter, pattern) for pattern in group.parameters)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer by ``<index of the parameter>/<name>``."""
    return {
        f"{index}/{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimizer the state that ``optimizer_tensors`` told."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
