"""Valid mappings scored in a second of processor time, compiled and in numpy.

Random mappings of the layers of ResNet-18 on ``gemmini`` that fit it; one thread, batches that stay
in the cache.

    python -m benchmarks.mapping --seconds 3
"""

import argparse
import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign import Architecture, Batch, fits, load_architecture, score, score_fast
from mlcnn.codesign.compiled import kernel
from mlcnn.codesign.tiles import primes
from mlcnn.workload import ConvLayer, LoopNest, loop_nest

__all__ = ["RESNET18", "main", "per_second", "primes_of", "valid_mappings"]

_CHUNKS = {"compiled": 4096, "numpy": 16384}
"""Mappings of a call: of arrays that the cache holds, and enough for numpy's calls to pay."""
_KEEP = ((True, True, True), (True, True, False), (False, False, True), (True, False, False))
_PLACES = {"K": ((1, True),), "C": ((2, True),)}

RESNET18 = (
    ConvLayer("conv1", 1, 64, 3, 224, 224, 7, 7, strides=(2, 2), pads=(3, 3, 3, 3)),
    ConvLayer("layer1", 1, 64, 64, 56, 56, 3, 3, pads=(1, 1, 1, 1)),
    ConvLayer("layer2.0", 1, 128, 64, 56, 56, 3, 3, strides=(2, 2), pads=(1, 1, 1, 1)),
    ConvLayer("layer2.0.downsample", 1, 128, 64, 56, 56, 1, 1, strides=(2, 2)),
    ConvLayer("layer2", 1, 128, 128, 28, 28, 3, 3, pads=(1, 1, 1, 1)),
    ConvLayer("layer3.0", 1, 256, 128, 28, 28, 3, 3, strides=(2, 2), pads=(1, 1, 1, 1)),
    ConvLayer("layer3.0.downsample", 1, 256, 128, 28, 28, 1, 1, strides=(2, 2)),
    ConvLayer("layer3", 1, 256, 256, 14, 14, 3, 3, pads=(1, 1, 1, 1)),
    ConvLayer("layer4.0", 1, 512, 256, 14, 14, 3, 3, strides=(2, 2), pads=(1, 1, 1, 1)),
    ConvLayer("layer4.0.downsample", 1, 512, 256, 14, 14, 1, 1, strides=(2, 2)),
    ConvLayer("layer4", 1, 512, 512, 7, 7, 3, 3, pads=(1, 1, 1, 1)),
    ConvLayer("fc", 1, 1000, 512, 1, 1, 1, 1),
)
"""The distinct layers of ResNet-18 at 224 x 224, batch 1."""


def primes_of(number: int) -> Iterator[int]:
    """Its prime factors, ascending, as often as they divide it."""
    return (prime for prime, exponent in primes(number) for _ in range(exponent))


def _drawn(nest: LoopNest, many: int, generator: np.random.Generator) -> Batch:
    """Mappings whose prime factors stand anywhere that ``gemmini`` may have them."""
    shape = (len(_KEEP), len(nest.dims), many)
    temporal, spatial = np.ones(shape), np.ones(shape)
    columns = np.arange(many)
    for row, (dim, size) in enumerate(zip(nest.dims, nest.sizes, strict=True)):
        places = [(level, False) for level in range(len(_KEEP))] + list(_PLACES.get(dim, ()))
        for prime in primes_of(size):
            drawn = generator.integers(len(places), size=many)
            for number, (level, side) in enumerate(places):
                (spatial if side else temporal)[level, row, columns[drawn == number]] *= prime
    order = generator.random(shape).argsort(1)
    return Batch(nest.dims, temporal, spatial, order, np.array(_KEEP))


def valid_mappings(
    nest: LoopNest, machine: Architecture, many: int, generator: np.random.Generator
) -> Batch:
    """Random mappings that fit a machine.

    Args:
        nest: the layer.
        machine: of the levels of ``gemmini``.
        many: at least so many are returned.
        generator: what they are drawn with.
    """
    parts: list[Batch] = []
    while sum(map(len, parts)) < many:
        drawn = _drawn(nest, 16 * many, generator)
        parts.append(drawn.at(np.flatnonzero(fits(nest, machine, drawn))))
    arrays = ([getattr(part, name) for part in parts] for name in ("temporal", "spatial", "order"))
    return Batch(nest.dims, *(np.concatenate(one, 2) for one in arrays), parts[0].keep)


def _chunks(batch: Batch, size: int) -> list[Batch]:
    whole = np.arange(len(batch) // size * size).reshape(-1, size)
    return [batch.at(index) for index in whole]


def per_second(
    run: Callable[[LoopNest, Batch], NDArray[np.float64]],
    work: list[tuple[LoopNest, Batch]],
    seconds: float,
) -> list[float]:
    """Mappings scored in a second of processor time: the rate of each round of the work."""
    rates: list[float] = []
    many = sum(len(batch) for _, batch in work)
    end = time.process_time() + seconds
    while (start := time.process_time()) < end or not rates:
        for nest, batch in work:
            run(nest, batch)
        rates.append(many / (time.process_time() - start))
    return rates


def main() -> None:
    """Print how many mappings are scored in a second of processor time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of processor time, each way")
    given = parser.parse_args()
    machine, generator = load_architecture("gemmini"), np.random.default_rng(0)
    drawn: list[tuple[LoopNest, Batch]] = []
    for layer in RESNET18:
        nest = loop_nest(layer)
        drawn.append((nest, valid_mappings(nest, machine, max(_CHUNKS.values()), generator)))
    print(f"{sum(len(batch) for _, batch in drawn):,} valid mappings of {len(RESNET18)} layers")

    def compiled(nest: LoopNest, batch: Batch) -> NDArray[np.float64]:
        return score_fast(nest, machine, batch).energy_pj

    def in_numpy(nest: LoopNest, batch: Batch) -> NDArray[np.float64]:
        return score(nest, machine, batch).energy_pj

    ways = {"numpy": in_numpy} | ({} if kernel() is None else {"compiled": compiled})
    for name, run in ways.items():
        work = [(nest, part) for nest, batch in drawn for part in _chunks(batch, _CHUNKS[name])]
        rates = per_second(run, work, given.seconds)
        print(
            f"{name}: {median(rates):,.0f} a second of processor time (median of {len(rates)} "
            f"rounds; fastest {max(rates):,.0f})"
        )


if __name__ == "__main__":
    main()
