"""What belongs to the study: networks with their recipes, forms, precisions."""

import functools
import importlib.resources
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from mlcnn.errors import InputError, did_you_mean
from mlcnn.training import Recipe

__all__ = ["FP16", "FP32", "Form", "Precise", "Studied", "Study", "load_study"]

Named = TypeVar("Named")

FP32 = "fp32"
FP16 = "fp16"


@dataclass(frozen=True, slots=True)
class Form:
    """One way to build a network.

    Attributes:
        name: of the form.
        pooling: of its pools: max, avg or all-conv.
        order: ``reordered`` where activations stand behind the pools.
        told: what it is, in words.
    """

    name: str
    pooling: str
    order: str
    told: str


@dataclass(frozen=True, slots=True)
class Precise:
    """One precision; without bits the network is not trained with its rounding.

    Attributes:
        name: of the precision.
        weight_bits: of a weight's code.
        input_bits: of an activation's code.
        epochs: of fine-tuning with the rounding.
    """

    name: str
    weight_bits: int = 0
    input_bits: int = 0
    epochs: float = 0


@dataclass(frozen=True, slots=True)
class Studied:
    """A network of the study.

    Attributes:
        name: in the zoo.
        forms: those that it has.
        recipe: for all of them.
    """

    name: str
    forms: tuple[str, ...]
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Study:
    """The matrix, but for data sets and seeds.

    Attributes:
        networks: by name.
        forms: by name.
        precisions: by name.
    """

    networks: Mapping[str, Studied]
    forms: Mapping[str, Form]
    precisions: Mapping[str, Precise]

    def network(self, name: str) -> Studied:
        """A network.

        Raises:
            InputError: it is not in the study.
        """
        return _known(self.networks, name, "network")

    def form(self, name: str) -> Form:
        """A form.

        Raises:
            InputError: it is not in the study.
        """
        return _known(self.forms, name, "--form")

    def precision(self, name: str) -> Precise:
        """A precision.

        Raises:
            InputError: it is not in the study.
        """
        return _known(self.precisions, name, "--precision")


def _known(table: Mapping[str, Named], name: str, what: str) -> Named:
    if name not in table:
        hint = did_you_mean(name, [*table], ": ", ":")
        raise InputError(f"{what} {name!r} is not in the study{hint} It has {', '.join(table)}")
    return table[name]


@functools.cache
def load_study() -> Study:
    """The study of the package, ``study.toml``."""
    path = importlib.resources.files("mlcnn.reproduce.study") / "study.toml"
    given = tomllib.loads(path.read_text(encoding="utf-8"))
    return Study(
        {
            name: Studied(name, tuple(row["forms"]), Recipe(**row["recipe"]))
            for name, row in given["networks"].items()
        },
        {name: Form(name, **row) for name, row in given["forms"].items()},
        {name: Precise(name, **row) for name, row in given["precisions"].items()},
    )
