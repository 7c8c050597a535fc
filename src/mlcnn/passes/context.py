"""What a pass may need beside the network, and says that it does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import onnx_ir as ir

from mlcnn.errors import InputError
from mlcnn.passes.base import Pass, PassResult

__all__ = ["Context", "ContextPass", "needs_of", "require_context"]

_REMEDIES = {
    "data": "give labelled images (--data)",
    "train": "run it by a command that trains",
}


def _silent(done: int, total: int) -> None:
    del done, total


@dataclass(frozen=True, slots=True)
class Context:
    """What a pipeline hands to the passes that declare a need for it.

    Attributes:
        data: arrays by input name, batch by batch: a calibration set; None where there is none.
        train: trains a module on the user's data: takes it, returns it; None where nothing may be
            trained.
        seed: of everything random.
        progress: told (steps done, their number).
    """

    data: Sequence[Mapping[str, np.ndarray]] | None = None
    train: Callable[[Any], Any] | None = None
    seed: int = 0
    progress: Callable[[int, int], None] = _silent


@runtime_checkable
class ContextPass(Protocol):
    """A pass that needs more than the network."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]

    def apply(self, model: ir.Model, context: Context) -> PassResult:
        """Return the rewritten network; never change ``model``."""
        ...


def needs_of(item: Pass) -> frozenset[str]:
    """What a pass declares that it needs: names of the context's fields."""
    return frozenset(getattr(item, "needs", ()))


def require_context(passes: Sequence[Pass], context: Context) -> None:
    """Check, before any work, that every pass gets what it needs.

    Raises:
        InputError: one does not.
    """
    for item in passes:
        for need in sorted(needs_of(item)):
            if getattr(context, need, None) is None:
                remedy = _REMEDIES.get(need, "leave the pass away")
                raise InputError(f"pass {item.name} needs {need} and got none: {remedy}")
