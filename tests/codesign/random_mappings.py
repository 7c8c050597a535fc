"""Random small nests and mappings: any level, any dimension, any mask, any order."""

import numpy as np

from mlcnn.codesign import LevelLoops, Mapping, Operand
from mlcnn.workload import ConvLayer, loop_nest

_SIZES = {"N": (1, 2), "K": (1, 2, 3, 4), "C": (1, 2, 3, 4), "P": (1, 2, 3, 4, 6), "R": (1, 2, 3)}


def random_nest(generator, most=256):
    """A nest of at most ``most`` multiply-accumulates."""
    while True:
        pick = lambda *values: int(generator.choice(values))  # noqa: E731
        groups = pick(1, 1, 2, 3)
        outputs, taps = (pick(*_SIZES["P"]), pick(*_SIZES["P"])), (pick(1, 2, 3), pick(1, 2, 3))
        strides, dilations = (pick(1, 1, 2, 3), pick(1, 2, 3)), (pick(1, 1, 2, 3), pick(1, 1, 2))
        height, width = (
            (p - 1) * s + (r - 1) * d + 1
            for p, s, r, d in zip(outputs, strides, taps, dilations, strict=True)
        )
        layer = ConvLayer(
            "layer", pick(*_SIZES["N"]), groups * pick(*_SIZES["K"]), groups * pick(*_SIZES["C"]),
            height, width, *taps, groups, strides, dilations,
        )  # fmt: skip
        if layer.macs <= most:
            return loop_nest(layer)


def random_mask(generator, depth):
    """What each level keeps; the outermost keeps all."""
    masks = generator.integers(0, 2, (depth, 3)).astype(bool)
    masks[0] = True
    return [tuple(o for o, kept in zip(Operand, row, strict=True) if kept) for row in masks]


def random_mapping(generator, nest, masks):
    """A mapping with those masks; loops of one iteration stand anywhere."""
    depth = len(masks)
    factors = {}
    for dim, size in zip(nest.dims, nest.sizes, strict=True):
        places = np.ones((depth, 2), int)
        for prime in _primes(size):
            # Spatial loops are rarer, so that there are steps to walk.
            places[generator.integers(depth), int(generator.random() < 0.3)] *= prime
        factors[dim] = places
    levels = []
    for number, keep in enumerate(masks):
        order = [str(dim) for dim in generator.permutation(nest.dims)]
        temporal, spatial = (
            tuple((dim, int(factors[dim][number, kind])) for dim in order) for kind in (0, 1)
        )
        levels.append(LevelLoops(temporal, spatial, keep))
    return Mapping(tuple(levels))


def _primes(number):
    for prime in (2, 3, 5, 7):
        while number % prime == 0:
            yield prime
            number //= prime
