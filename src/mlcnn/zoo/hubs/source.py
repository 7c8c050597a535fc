"""What a source of networks is: a prefix, as in ``timm:resnet50``, and who makes what follows."""

import contextlib
import importlib
import os
import pickle
import warnings
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from mlcnn.errors import InputError, MlcnnError
from mlcnn.graph.calls import Call
from mlcnn.graph.quiet import to_stderr
from mlcnn.graph.wording import quote
from mlcnn.zoo.registry import Normalisation

__all__ = [
    "Images",
    "Made",
    "NetworkSource",
    "Pickled",
    "Unreachable",
    "Wanted",
    "imported",
    "making",
]

EXTRA = "pip install 'mlcnn[hubs]'"


@dataclass(frozen=True, slots=True)
class Images:
    """What a network was trained to take.

    Attributes:
        shape: (channels, height, width); None where that is not known.
        normalisation: of an image x of 0..1; None where that is not known.
        about: what else is done to an image file, as "resized to 256, its centre of 224 taken".
    """

    shape: tuple[int, ...] | None = None
    normalisation: Normalisation | None = None
    about: str = ""

    def __str__(self) -> str:
        shape = "" if self.shape is None else "x".join(map(str, self.shape)) + " "
        norm = self.normalisation
        taken = "" if norm is None else f" as (x - {_list(norm.mean)}) / {_list(norm.std)}"
        return f"takes {shape}images x of 0..1{taken}{self.about and ', '}{self.about}"


def _list(numbers: tuple[float, ...]) -> str:
    return f"({', '.join(f'{number:g}' for number in numbers)})"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user asks of a source.

    Attributes:
        text: all of it, ``timm:resnet50(in_chans=1)``: what messages begin with.
        call: what stands behind the prefix.
        weights: a file of weights that is given beside it: no others are fetched then. The caller
            puts them into the module.
        seed: of random weights.
    """

    text: str
    call: Call
    weights: Path | None = None
    seed: int = 0

    @property
    def prefix(self) -> str:
        """That of its source."""
        return self.text.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Made:
    """What a source gives.

    Attributes:
        network: a module, or the path of an ``.onnx`` file.
        images: what it takes.
        links: folder that links beside an ``.onnx`` file may lead into; its own by default.
    """

    network: nn.Module | Path
    images: Images = Images()
    links: Path | None = None


@runtime_checkable
class NetworkSource(Protocol):
    """Where networks come from; entry point ``mlcnn.sources``, whose name is the prefix."""

    @property
    def summary(self) -> str:
        """What it gives, in a line."""
        ...

    @property
    def needs(self) -> str:
        """What must be installed and reached."""
        ...

    def images(self, wanted: Wanted) -> Images:
        """What the network takes, found without making it.

        Raises:
            InputError: there is no such network, or no such package.
        """
        ...

    def make(self, wanted: Wanted) -> Made:
        """The network. No file that it reads may run code.

        Raises:
            InputError: there is no such network, no such package, or it cannot be fetched.
        """
        ...


def imported(package: str, text: str, extra: str = EXTRA) -> ModuleType:
    """An optional package.

    Args:
        package: its name.
        text: what the message begins with.
        extra: what installs it.

    Raises:
        InputError: it is missing or broken.
    """
    try:
        with to_stderr(), warnings.catch_warnings(action="ignore"):
            return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise InputError(
                f"{text}: the package {package} lacks another, {quote(error)}: {extra}"
            ) from error
        raise InputError(f"{text}: the package {package} is missing: {extra}") from None
    except Exception as error:
        raise InputError(
            f"{text}: the package {package} is broken, {quote(error)}: install the release that "
            f"fits torch {torch.__version__}"
        ) from error


class Unreachable(Exception):  # noqa: N818 - of this package, never shown
    """A file could not be fetched."""


class Pickled(Exception):  # noqa: N818 - likewise
    """A file needs code to be read."""


@contextlib.contextmanager
def making(wanted: Wanted) -> Generator[None]:
    """Let a package make a network: from the seed, reading tensors only, printing no results.

    Raises:
        Unreachable: it could not fetch a file.
        Pickled: a file holds more than tensors.
        InputError: it failed in any other way.
    """
    with (
        torch.random.fork_rng(devices=[]),
        _only_tensors(),
        to_stderr(),
        warnings.catch_warnings(action="ignore"),
    ):
        torch.manual_seed(wanted.seed)
        try:
            yield
        except MlcnnError:
            raise
        except pickle.UnpicklingError as error:
            raise Pickled(quote(error)) from error
        except Exception as error:  # packages raise what they like
            if _is_of_network(error):
                raise Unreachable(quote(error)) from error
            raise InputError(f"{wanted.text}: cannot be made: {quote(error)}") from error


def _is_of_network(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is of files or connections."""
    while error is not None:
        if isinstance(error, OSError) or "http" in type(error).__module__:
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def _only_tensors() -> Generator[None]:
    """Make ``torch.load`` refuse code, also where a package asks it not to."""
    force, never = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before = {name: os.environ.pop(name, None) for name in (force, never)}
    os.environ[force] = "1"
    try:
        yield
    finally:
        del os.environ[force]
        os.environ.update({name: value for name, value in before.items() if value is not None})
