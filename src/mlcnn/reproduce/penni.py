"""PENNI (Li et al., ICML 2020): what is counted of shared kernels, and what has to be trained.

Counts need a network's shapes and how many coefficients are left, no values. So the published
savings stand beside those of random masks; which density training reaches at which accuracy they
do not say. Rows that need a training hold the commands for it, which resume where they were
stopped, and say so; results of such runs are read from a folder.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from mlcnn.counting import nonzero_multiplications
from mlcnn.ops.shared_kernels import structure as shared
from mlcnn.reproduce.penni_runs import measured
from mlcnn.reproduce.reproduction import (
    Beside,
    Cell,
    Number,
    Reproduction,
    Tell,
    compared,
    number,
    published_rows,
)
from mlcnn.reproduce.structure import conv_layers, parameters, structure
from mlcnn.workload import ConvLayer, Layer

__all__ = ["Sizes", "penni_with_runs", "reproduce_penni", "sizes"]

_NETWORKS = ("resnet18", "resnet56", "vgg16")
_POINTS = ((2, 0.3), (5, 1.0), (5, 0.3), (5, 0.1), (5, 0.054), (5, 0.05))
_CONDITIONS = (
    "counted as the authors' profiler does, P Q (C d R S + nnz), at random masks of the given "
    "density; accuracy is another matter: nothing is trained here"
)
_TRAIN = (
    "mlcnn train {0} --data cifar10 --epochs {epochs} --device cuda --precision bf16 -o runs/{0}"
)
_COMPRESS = (
    "mlcnn compress runs/{0}/{0}.onnx --data cifar10 --method shared-kernels --basis 5 "
    "--budget {budget} --epochs {more} --device cuda --precision bf16 -o runs/{0}-shared.onnx"
)
# Epochs of training, the budget in parameters, and epochs under it: a start, not what the authors
# did (100 epochs in turn and 30 more).
_RECIPES = {"resnet18": (30, "33x", 60), "resnet56": (100, "6x", 30), "vgg16": (100, "17x", 10)}


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a network keeps and multiplies.

    Attributes:
        parameters: numbers that are not zero.
        multiplications: for one image, by weights that are not zero.
    """

    parameters: int
    multiplications: int


def sizes(layers: Iterable[ConvLayer], basis: int = 0, density: float = 1.0) -> Sizes:
    """Layers with a random mask, each drawn for itself from one seed.

    Args:
        layers: to be counted.
        basis: kernels that each layer shares; 0 for the layers as they are.
        density: share of the coefficients that stay.
    """
    generator = np.random.default_rng(0)
    kept = products = 0
    for nest in layers:
        if not basis:
            kept, products = kept + nest.weights, products + nest.macs
            continue
        coefficients = nest.K * (nest.C // nest.G) * basis
        left = int(np.count_nonzero(generator.random(coefficients) < density))
        layer = Layer(nest, weights=shared(basis), density=left / coefficients)
        kept += left + basis * nest.kernel_area
        products += nonzero_multiplications(layer)
    return Sizes(kept, products)


def reproduce_penni(what: str, _: Tell) -> Reproduction:
    """Reproduce ``penni``."""
    return _found(what)


def _found(what: str) -> Reproduction:
    published = published_rows(what)
    rows = tuple(compared(row, _gone(row)) for row in published)
    return Reproduction(what, rows, _CONDITIONS, _beside(published))


def penni_with_runs(what: str, runs: Path) -> Reproduction:
    """The same, with what runs came to beside it.

    Args:
        what: ``penni``.
        runs: folder in which ``mlcnn compress`` wrote its folders.

    Raises:
        InputError: there is no such folder, no result in it, or one is damaged.
    """
    found = _found(what)
    return Reproduction(what, found.rows, found.conditions, (*found.beside, measured(runs)))


def _beside(published: Sequence[Mapping[str, str]]) -> tuple[Beside, ...]:
    return _counts(), _asked(published), _trained(), _recipes()


@cache
def _layers(name: str) -> tuple[ConvLayer, ...]:
    return tuple(conv_layers(name))


def _large(name: str) -> list[ConvLayer]:
    return [nest for nest in _layers(name) if nest.kernel_area > 1]


@cache
def _rest(name: str) -> Sizes:
    """1x1 convolutions, dense layers, norms and biases."""
    others = sizes(nest for nest in _layers(name) if nest.kernel_area == 1)
    large = sizes(_large(name))
    return Sizes(parameters(structure(name)) - large.parameters, others.multiplications)


def _share(name: str, basis: int, density: float, *, whole: bool) -> Mapping[str, float]:
    """What is left of a network's parameters and multiplications, in percent."""
    before, after = sizes(_large(name)), sizes(_large(name), basis, density)
    rest = _rest(name) if whole else Sizes(0, 0)
    return {
        kind: 100
        * (getattr(after, kind) + getattr(rest, kind))
        / (getattr(before, kind) + getattr(rest, kind))
        for kind in Sizes.__slots__
    }


def _gone(row: Mapping[str, str]) -> Number:
    left = _share(
        row["network"], int(row["basis"]), float(row["density"]), whole=row["accounting"] == "whole"
    )
    return 100 - left[row["quantity"]]


def _counts() -> Beside:
    """Each network at several bases and densities."""
    rows: list[tuple[Cell, ...]] = []
    for name in _NETWORKS:
        for basis, density in _POINTS:
            kernels, whole = (_share(name, basis, density, whole=w) for w in (False, True))
            rows.append((name, basis, f"{density:g}", *kernels.values(), *whole.values()))
    return Beside(
        "what is left, %, counted: of the convolutions larger than 1x1, and of the whole network "
        "with all else as it was",
        ("network", "d", "density", "parameters", "mult.", "parameters, whole", "mult., whole"),
        tuple(rows),
    )


def _asked(published: Sequence[Mapping[str, str]]) -> Beside:
    """The density that each published saving asks for."""
    return Beside(
        "the density that a published saving asks for, with five basis kernels",
        ("saving", "published, %", "density"),
        tuple((row["item"], number(row["published"]), f"{_density(row):.3f}") for row in published),
    )


def _density(row: Mapping[str, str]) -> float:
    """Counts are linear in the density, but for whole numbers."""
    none, full = (_gone({**row, "density": density}) for density in ("0", "1"))
    return (none - number(row["published"])) / (none - full)


def _trained() -> Beside:
    """What needs a training."""
    return Beside(
        "published, and not run here",
        ("network", "quantity", "published", "needs", "source"),
        tuple(
            (
                row["network"],
                row["quantity"],
                f"{row['published']} {row['unit']}" if row["published"] else "not known",
                row["needs"],
                row["source"],
            )
            for row in published_rows("penni-trained")
        ),
    )


def _recipes() -> Beside:
    """How that is done."""
    steps = [
        (name, step.format(name, epochs=epochs, budget=budget, more=more))
        for name, (epochs, budget, more) in _RECIPES.items()
        for step in (_TRAIN, _COMPRESS)
    ]
    return Beside(
        "how they are run, on a GPU; a command that was stopped goes on where it was, and "
        "`mlcnn reproduce penni --runs runs` then shows what they came to",
        ("network", "commands, one after the other"),
        tuple(steps),
    )
