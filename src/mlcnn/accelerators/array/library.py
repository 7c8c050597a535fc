"""The arrays that come with the package."""

from pathlib import Path

from mlcnn.accelerators.array.machine import Array
from mlcnn.accelerators.loading import load_accelerator
from mlcnn.errors import InputError

__all__ = ["load_array"]


def load_array(name: str | Path) -> Array:
    """An array by name, or from a ``.yaml`` file; see ``mlcnn.accelerators.load_accelerator``.

    Raises:
        InputError: it is another type of machine.
    """
    machine = load_accelerator(name)
    if not isinstance(machine, Array):
        raise InputError(
            f"accelerator {machine.name} is a machine of the class {type(machine).__name__}; this "
            "needs an array: give a file without a type, or one of the type array"
        )
    return machine
