"""Random machines of up to five levels, with a nest and a mapping of it."""

import numpy as np
from codesign.random_mappings import random_mapping, random_mask, random_nest

from mlcnn.codesign import Architecture, Batch, EnergyLaw, FanOut, Level, Operand

_ALL = tuple(Operand)


def _bound(generator, most):
    return None if generator.random() < 0.4 else float(generator.uniform(0.05, most))


def _level(generator, name):
    dims = None if generator.random() < 0.5 else ("K", "C", "P", "R")
    capacity = [None, 40, {o: int(generator.integers(1, 30)) for o in _ALL[:2]}]
    return Level(
        name, _ALL, 8, capacity[generator.integers(3)], EnergyLaw(generator.uniform(0.1, 9), 0.03),
        None if generator.random() < 0.5 else EnergyLaw(generator.uniform(0.1, 9)),
        int(generator.integers(1, 9)), _bound(generator, 3), _bound(generator, 3),
        _bound(generator, 5), FanOut(int(generator.integers(1, 9)), dims),
    )  # fmt: skip


def random_case(seed, most=4096):
    """A machine, a nest, a mapping of it and the mapping alone as a batch."""
    generator = np.random.default_rng(seed)
    depth = int(generator.integers(1, 6))
    levels = tuple(_level(generator, f"level{number}") for number in range(depth))
    machine = Architecture("random", levels, float(generator.uniform(0.1, 2)))
    nest, masks = random_nest(generator, most), random_mask(generator, depth)
    mapping = random_mapping(generator, nest, masks)
    return machine, nest, mapping, Batch.of([mapping], nest)
