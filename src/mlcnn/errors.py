"""The errors that mlcnn raises on purpose.

Every message says what was given, where, what is required and what to change.
"""

__all__ = ["InfeasibleError", "InputError", "MlcnnError", "PassError", "UnsupportedError"]


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
