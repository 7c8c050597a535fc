"""The gradient search of a network's designs: starts, targets, and what comes of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mlcnn.codesign.exploration.archive import Archive
from mlcnn.codesign.exploration.candidates import Candidates
from mlcnn.codesign.exploration.quantities import Quantity
from mlcnn.codesign.exploration.relaxed.layers import LayerStack
from mlcnn.codesign.exploration.relaxed.rounding import rounded
from mlcnn.codesign.exploration.relaxed.search import Pace, Relaxation, Starts, Target
from mlcnn.codesign.exploration.relaxed.sizes import template_of
from mlcnn.codesign.layer_searches import LayerGroup
from mlcnn.errors import InputError

__all__ = ["DEVICES", "Relaxing", "check_device"]

DEVICES = ("cpu", "cuda")
_PACE = Pace(steps=120, first=0.5, last=0.01, apart=60)
_TARGETS = 16
"""Different bounds of several objectives."""


def check_device(device: str) -> None:
    """Whether the gradient search can run there.

    Raises:
        InputError: the device is not known, or there is none.
    """
    if device not in DEVICES:
        raise InputError(f"unknown device {device!r}; known: {', '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "--device cuda: torch sees no CUDA device here; leave --device out to search on the CPU"
        )


@dataclass(frozen=True, slots=True)
class Relaxing:
    """What a gradient search is of.

    Attributes:
        groups: the network's layers.
        device: ``cpu``, in double precision, or ``cuda``, in single precision.
        starts: how many, as one batch.
    """

    groups: tuple[LayerGroup, ...]
    device: str = "cpu"
    starts: int = 32

    def ranked(self, archive: Archive, seed: int) -> list[tuple[int, float]]:
        """Candidates that may be the best, and what they are relaxed to.

        Args:
            archive: what is asked for; what is mapped is not looked at.
            seed: of the starts.

        Returns:
            Numbers of candidates, each once, and logarithms of the objective (of several, of one
            under bounds on the others, the best for each bounds first) with what missed bounds
            cost.
        """
        candidates = archive.candidates
        dtype = torch.float64 if self.device == "cpu" else torch.float32
        architecture = template_of(candidates.space).architecture
        layers = LayerStack(self.groups, architecture, dtype=dtype, device=self.device)
        relaxation = Relaxation(layers, candidates.space)
        kinds, target = _targets(archive, self.starts, seed, layers.stack.like)
        starts = _drawn(relaxation, candidates, self.starts, seed)
        free = torch.ones_like(starts.sizes)
        starts = relaxation.moved(starts, target, _PACE, free)
        numbers = {design: number for number, design in enumerate(candidates.designs)}
        found: dict[int, float] = {}
        for one in rounded(relaxation, starts, target, kinds, numbers):
            found.setdefault(numbers[one.design], one.worth)
        return list(found.items())


def _drawn(relaxation: Relaxation, candidates: Candidates, many: int, seed: int) -> Starts:
    """Sizes of random designs, random factors, and each start with options of its own."""
    generator = np.random.default_rng([seed, 0])
    layers, space = relaxation.layers, candidates.space
    drawn = _spread(generator, len(candidates), many)
    values = [list(space.values(candidates.designs[number]).values()) for number in drawn]
    like = layers.stack.like
    sizes = torch.tensor(np.log(values)).to(like)
    logits = torch.tensor(generator.standard_normal((many, *layers.free.shape))).to(like)
    options = np.arange(many)[:, None] * layers.options // many
    options = np.broadcast_to(options % layers.options, (many, len(layers.counts))).copy()
    return relaxation.begun(sizes, logits, torch.tensor(options, device=like.device))


def _spread(generator: np.random.Generator, among: int, many: int) -> list[int]:
    """Numbers that are drawn without repetition as far as that goes."""
    rounds = [generator.permutation(among) for _ in range(-(-many // among))]
    return np.concatenate(rounds)[:many].tolist()


def _targets(archive: Archive, many: int, seed: int, like: Tensor) -> tuple[list[int], Target]:
    """The number of each start's target, and these.

    Of several objectives one is made small after the other, with what a random design is likely to
    have as bounds on the others: these reach all of a front, which weights do not.
    """
    every = list(Quantity)
    weights = np.zeros((many, len(every)))
    most = np.full((many, len(every)), np.inf)
    for limit in archive.limits:
        most[:, every.index(limit.quantity)] = np.log(limit.most)
    objectives = archive.objectives
    kinds = [0] * many if len(objectives) == 1 else [start % _TARGETS for start in range(many)]
    drawn = _spread(np.random.default_rng([seed, 1]), len(archive.candidates), _TARGETS)
    for start, kind in enumerate(kinds):
        first = objectives[kind % len(objectives)]
        weights[start, every.index(first)] = 1.0
        for other, likely in _likely(archive.candidates, drawn[kind]):
            if other in objectives and other is not first:
                place = every.index(other)
                most[start, place] = min(most[start, place], np.log(likely))
    return kinds, Target(torch.tensor(weights).to(like), torch.tensor(most).to(like))


def _likely(candidates: Candidates, number: int) -> Iterator[tuple[Quantity, float]]:
    """What a design is likely to have."""
    energy = float(candidates.likely_energy_pj[number])
    latency = float(candidates.likely_latency_cycles[number])
    yield Quantity.ENERGY, energy
    yield Quantity.LATENCY, latency
    yield Quantity.EDP, energy * latency
    yield Quantity.POWER, energy / latency * candidates.clock_mhz * 1e-6
    yield Quantity.AREA, float(candidates.area_um2[number])
