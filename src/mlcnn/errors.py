"""The errors that mlcnn raises on purpose.

Every message says what was given, where, what is required and what to change.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "InfeasibleError",
    "InputError",
    "MlcnnError",
    "PassError",
    "UnsupportedError",
    "did_you_mean",
    "nearest",
]


class MlcnnError(Exception):
    """Base of every error that mlcnn raises on purpose."""


class InputError(MlcnnError):
    """What the user gave cannot be used: a file, an option, a shape."""


class UnsupportedError(MlcnnError):
    """The input is valid, but this part of mlcnn cannot handle it."""


class InfeasibleError(MlcnnError):
    """A demand exceeds a bound: the message names the demand, the bound and the levers."""


class PassError(MlcnnError):
    """A pass produced a network that fails a check: a defect of the pass, never of the input."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like an unknown one; None where none is near."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str], before: str = "; ", otherwise: str = "") -> str:
    """What a message says behind an unknown name.

    Args:
        name: the unknown name.
        known: what there is.
        before: what stands in front of the question.
        otherwise: what is said where no known name is near.
    """
    near = nearest(name, known)
    return otherwise if near is None else f"{before}did you mean {near!r}?"
