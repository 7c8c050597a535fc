"""What a network comes to on relaxed machines with relaxed mappings, and what these miss."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mlcnn.codesign.architecture import Operand
from mlcnn.codesign.exploration.quantities import Quantity
from mlcnn.codesign.exploration.relaxed.layers import LayerStack
from mlcnn.codesign.matrix import Hardware
from mlcnn.codesign.matrix.stack import Arrangement, StackCounts

__all__ = ["LayerCosts", "layer_costs", "quantities"]

_LEAST_WORDS = 1e-9
"""A logarithm of no words is still finite."""


@dataclass(frozen=True, slots=True)
class LayerCosts:
    """Of the layers of each start.

    Attributes:
        energy_pj: shape (starts, layers).
        latency_cycles: likewise.
        excess: logarithms of what is needed over what there is, of each memory and fan-out; above 0
            where a mapping does not fit; shape (starts, layers, constraints).
    """

    energy_pj: Tensor
    latency_cycles: Tensor
    excess: Tensor


def layer_costs(
    layers: LayerStack, x: Tensor, arrangement: Arrangement, hardware: Hardware
) -> LayerCosts:
    """Cost of every layer of every start.

    Args:
        layers: they.
        x: logarithms of factors, shape (starts, layers, levels, 2, dims).
        arrangement: of all layers' mappings, start by start.
        hardware: machines, with (starts,) in front.
    """
    starts, many = x.shape[:2]
    counts = layers.stack.counts(x.flatten(0, 1), arrangement)
    each = _for_each(hardware, many)
    excess = torch.cat([_memories(counts, each), _fan_outs(layers, x, each)], 1)
    return LayerCosts(
        counts.energy_pj(each).unflatten(0, (starts, many)),
        counts.latency_cycles(each).unflatten(0, (starts, many)),
        excess.unflatten(0, (starts, many)),
    )


def _for_each(hardware: Hardware, many: int) -> Hardware:
    """The machine of each layer."""

    def several(sizes: Tensor) -> Tensor:
        shape = (sizes.shape[0], many, *sizes.shape[1:])
        return sizes[:, None].expand(shape).flatten(0, 1)

    names = ("shared", "own", "fan_out", "bandwidth")
    return replace(hardware, **{name: several(getattr(hardware, name)) for name in names})


def _memories(counts: StackCounts, hardware: Hardware) -> Tensor:
    levels = hardware.architecture.levels
    shared = [n for n, level in enumerate(levels) if isinstance(level.capacity, int)]
    own = [
        (n, list(Operand).index(operand))
        for n, level in enumerate(levels)
        if isinstance(level.capacity, Mapping)
        for operand in level.capacity
    ]
    held = [counts.tiles[:, shared].sum(2)]
    there = [hardware.shared[:, shared]]
    for level, operand in own:
        held.append(counts.tiles[:, level, operand, None])
        there.append(hardware.own[:, level, operand, None])
    words = torch.cat(held, 1).clamp_min(_LEAST_WORDS)
    return words.log() - torch.cat(there, 1).log()


def _fan_outs(layers: LayerStack, x: Tensor, hardware: Hardware) -> Tensor:
    spread = [n for n in range(x.shape[2]) if bool(layers.free[:, n, 1].any())]
    used = x.flatten(0, 1)[:, spread, 1].sum(2)
    return used - hardware.fan_out[:, spread].log()


def quantities(
    energy_pj: Tensor, latency_cycles: Tensor, area_um2: Tensor | None, clock_mhz: float
) -> Tensor:
    """Logarithms of a network's quantities, in the order of ``Quantity`` and its units.

    Args:
        energy_pj: of all layers, shape (starts,).
        latency_cycles: likewise.
        area_um2: of the machines; None where it is not known, and 0 in the result then.
        clock_mhz: of the cycles.

    Returns:
        Shape (starts, quantities).
    """
    energy, latency = energy_pj.log(), latency_cycles.log()
    per_watt = torch.log(torch.tensor(clock_mhz * 1e-6, dtype=energy.dtype, device=energy.device))
    found = {
        Quantity.LATENCY: latency,
        Quantity.ENERGY: energy,
        Quantity.POWER: energy - latency + per_watt,
        Quantity.AREA: torch.zeros_like(energy) if area_um2 is None else area_um2.log(),
        Quantity.EDP: energy + latency,
    }
    return torch.stack([found[one] for one in Quantity], 1)
