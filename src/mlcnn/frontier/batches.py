"""What images cost on a machine, batch by batch, from what was recorded of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlcnn.accelerators import Conditional, Taken
from mlcnn.errors import InputError
from mlcnn.frontier.activity import Activity

__all__ = ["DECIDING", "Spent", "in_batches"]

DECIDING = "what decides"
_ALWAYS = "always"

_Costs = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Spent:
    """What batches take.

    Attributes:
        batch: images of each.
        energy_pj: of an image, on average over its batch: shape (batches,).
        cycles: likewise.
        parts: energy of an image, on average over all, by where it is spent: what always runs, each
            branch, and what decides; they add up to the mean.
    """

    batch: int
    energy_pj: _Costs
    cycles: _Costs
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Energy and cycles of batches, added up part by part."""

    batches: int
    energy: dict[str, _Costs] = field(default_factory=dict)
    cycles: dict[str, _Costs] = field(default_factory=dict)

    def add(self, part: str, numbers: NDArray[np.int64], cost: Callable[[int], Taken]) -> None:
        """Something that runs for so many images of each batch."""
        distinct, which = np.unique(numbers, return_inverse=True)
        taken = [cost(int(number)) for number in distinct]
        for sums, name in ((self.energy, "energy_pj"), (self.cycles, "cycles")):
            each = np.array([getattr(one, name) for one in taken])[which]
            sums[part] = sums.get(part, np.zeros(self.batches)) + each


def in_batches(activity: Activity, costs: Conditional, batch: int, *, seed: int = 0) -> Spent:
    """What the recorded images take, so many at a time.

    Each layer runs for the images of a batch that need it, and fetches its weights once for them.

    Args:
        activity: what was recorded.
        costs: of the same network on a machine.
        batch: images that go together: by chance, since data often come class by class. Those
            that fill no batch are left out.
        seed: of chance.

    Raises:
        InputError: there are fewer images than a batch has.
        InfeasibleError: the machine cannot run a layer.
    """
    if activity.images < batch:
        raise InputError(
            f"a batch of {batch} images and {activity.images} images: give more images, or --batch"
        )
    order = np.random.default_rng(seed).permutation(activity.images)
    order = order[: activity.images // batch * batch].reshape(-1, batch)

    def numbers(condition: str) -> NDArray[np.int64]:
        if not condition:
            return np.full(len(order), batch, np.int64)
        return activity.ran[condition][order].sum(1)

    sums = _Sums(len(order))
    for place, layer in enumerate(costs.layers):
        part = layer.condition or _ALWAYS
        sums.add(part, numbers(layer.condition), lambda count, p=place: costs.layer(p, count))
    for gate in costs.workload().gates:
        sums.add(DECIDING, numbers(gate.condition), lambda count, g=gate: costs.gate(g, count))
        for branch in gate.branches:
            sums.add(
                DECIDING, numbers(branch), lambda count, b=branch: costs.listed(b, count, batch)
            )
    energy, cycles = (
        np.sum([*found.values()], axis=0) / batch for found in (sums.energy, sums.cycles)
    )
    parts = {name: float(each.mean()) / batch for name, each in sums.energy.items()}
    return Spent(batch, energy, cycles, parts)
