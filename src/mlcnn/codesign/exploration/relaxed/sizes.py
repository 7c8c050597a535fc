"""A template's machines with gradients: sizes of levels as tensors of its parameters."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mlcnn.codesign.architecture import Operand
from mlcnn.codesign.exploration.loop_nests import LoopNestTemplate
from mlcnn.codesign.exploration.template import Space
from mlcnn.codesign.matrix import Hardware
from mlcnn.codesign.timeloop.expression import evaluate_smooth

__all__ = ["hardware_of", "template_of"]

_RATES = ("read_bandwidth", "write_bandwidth", "shared_bandwidth")


def template_of(space: Space) -> LoopNestTemplate:
    """The template of a space of loop-nest machines."""
    assert isinstance(space.template, LoopNestTemplate)  # noqa: S101
    return space.template


def hardware_of(template: LoopNestTemplate, values: Mapping[str, Tensor]) -> Hardware:
    """The machines of some values, by the template's own expressions; nothing is rounded down.

    Args:
        template: whose.
        values: of each parameter, shape (machines,).

    Returns:
        Tensors with (machines,) in front.
    """
    like = next(iter(values.values()))
    base = Hardware.of(template.architecture, dtype=like.dtype, device=like.device)

    def column(given: object) -> Tensor:
        value = evaluate_smooth(str(given), values)
        return value if isinstance(value, Tensor) else torch.full_like(like, float(value))

    def columns(name: str) -> list[list[Tensor]]:
        """A field's values of each level and what stands behind it, with the machines in front."""
        flat = getattr(base, name).reshape(len(template.architecture.levels), -1)
        return [[one.expand(like.shape) for one in row] for row in flat]

    shared, own, fan_out, rates = map(columns, ("shared", "own", "fan_out", "bandwidth"))
    for number, level in enumerate(template.architecture.levels):
        fields: Mapping[str, Any] = template.levels.get(level.name, {})
        for field, given in fields.items():
            if field == "fan_out":
                fan_out[number] = [column(given)]
            elif field in _RATES:
                rates[number][_RATES.index(field)] = column(given)
            elif field == "capacity" and isinstance(given, Mapping):
                for operand, text in given.items():
                    own[number][list(Operand).index(Operand(operand))] = column(text)
            elif field == "capacity":
                shared[number] = [column(given)]
    return replace(
        base,
        shared=_stacked(shared)[..., 0],
        own=_stacked(own),
        fan_out=_stacked(fan_out)[..., 0],
        bandwidth=_stacked(rates),
    )


def _stacked(rows: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
