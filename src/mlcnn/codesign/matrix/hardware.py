"""Sizes of a machine as tensors: what a search may move, with gradients."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mlcnn.codesign.architecture import ENERGY_KB, Architecture, AreaLaw, Level, Operand

__all__ = ["Hardware"]


@dataclass(frozen=True, slots=True)
class Hardware:
    """A machine whose sizes are tensors; shapes are those given here or with (mappings,) in front.

    Attributes:
        architecture: its levels' names, words, blocks and laws of energy; its own sizes are not
            looked at.
        shared: words of one instance of each level for all operands together, shape (levels,);
            infinite where there is no bound.
        own: words for each operand alone, shape (levels, operands).
        fan_out: instances of the next level below each, shape (levels,).
        bandwidth: words a cycle of one instance read, written and both together, shape (levels, 3).
    """

    architecture: Architecture
    shared: Tensor
    own: Tensor
    fan_out: Tensor
    bandwidth: Tensor

    @classmethod
    def of(
        cls,
        architecture: Architecture,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> "Hardware":
        """An architecture's own sizes; ``dataclasses.replace`` gives others.

        Args:
            architecture: the machine.
            dtype: of the tensors, that of the factors.
            device: where they lie.
        """

        def tensor(rows: Sequence[object]) -> Tensor:
            return torch.tensor(rows, dtype=dtype, device=device)

        levels = architecture.levels
        return cls(
            architecture,
            shared=tensor([_shared(level) for level in levels]),
            own=tensor([_own(level) for level in levels]),
            fan_out=tensor([float(level.fan_out.size) for level in levels]),
            bandwidth=tensor([_bandwidth(level) for level in levels]),
        )

    def access_pj(self, number: int) -> tuple[Tensor, Tensor]:
        """Energy of a word that a level reads and of one that it writes, by its size now."""
        level, size = self.architecture.levels[number], self.size_bytes(number)
        laws = level.energy, level.write_energy or level.energy
        read, written = (law.pj + law.pj_per_kb * (size / ENERGY_KB) for law in laws)
        return read, written

    def size_bytes(self, number: int) -> Tensor:
        """Bytes of one instance of a level; 0 where there is no bound."""
        return self._words(number) * self.architecture.levels[number].word_bits / 8

    def area_um2(self) -> Tensor | None:
        """Area by the law of the machine; None where it has none."""
        law = self.architecture.area
        if not isinstance(law, AreaLaw):
            return None
        bytes_um2 = dict(law.byte_um2)
        area, instances = (
            torch.zeros_like(self.fan_out[..., 0]),
            torch.ones_like(self.fan_out[..., 0]),
        )
        for number, level in enumerate(self.architecture.levels):
            each = bytes_um2.get(level.name, 0.0)
            area = area + each * instances * self.size_bytes(number)
            instances = instances * self.fan_out[..., number]
        return area + law.unit_um2 * instances

    def _words(self, number: int) -> Tensor:
        """Words of one instance, over all operands; 0 where there is no bound."""
        capacity = self.architecture.levels[number].capacity
        if isinstance(capacity, Mapping):
            return self.own[
                ..., number, [n for n, one in enumerate(Operand) if one in capacity]
            ].sum(-1)
        words = self.shared[..., number]
        return torch.zeros_like(words) if capacity is None else words


def _shared(level: Level) -> float:
    return float(level.capacity) if isinstance(level.capacity, int) else math.inf


def _own(level: Level) -> list[float]:
    if isinstance(level.capacity, Mapping):
        return [float(level.capacity.get(operand, 0)) for operand in Operand]
    return [math.inf] * len(Operand)


def _bandwidth(level: Level) -> list[float]:
    bounds = (level.read_bandwidth, level.write_bandwidth, level.shared_bandwidth)
    return [math.inf if bound is None else float(bound) for bound in bounds]
