"""A loop nest as scorers read it: numbers of dimensions and coefficients."""

from dataclasses import dataclass
from functools import lru_cache

from mlcnn.codesign.windows import WindowAxis
from mlcnn.errors import UnsupportedError
from mlcnn.workload import LoopNest, Projection

__all__ = ["Access", "accesses"]


@dataclass(frozen=True, slots=True)
class Access:
    """How one operand depends on the dimensions.

    Attributes:
        plain: numbers of the dimensions that are an axis by themselves.
        windows: axes that slide.
        relevant: for each dimension, whether it moves the operand.
        direct: for each dimension, whether it is an axis by itself.
    """

    plain: tuple[int, ...]
    windows: tuple[WindowAxis, ...]
    relevant: tuple[bool, ...]
    direct: tuple[bool, ...]


@lru_cache
def accesses(nest: LoopNest) -> tuple[Access, Access, Access]:
    """Of weight, input and output.

    Raises:
        UnsupportedError: an axis is no dimension and no sum of two.
    """
    weight, source, output = (_access(nest, operand) for operand in nest.operands)
    return weight, source, output


def _access(nest: LoopNest, projection: Projection) -> Access:
    numbers = {dim: number for number, dim in enumerate(nest.dims)}
    plain: list[int] = []
    windows: list[WindowAxis] = []
    for axis in projection.axes:
        if len(axis) == 1 and axis[0].step == 1:
            plain.append(numbers[axis[0].dim])
        elif len(axis) == 2:
            outputs, taps = axis
            windows.append(
                WindowAxis(numbers[outputs.dim], numbers[taps.dim], outputs.step, taps.step)
            )
        else:
            shown = " + ".join(f"{term.step}*{term.dim}" for term in axis)
            raise UnsupportedError(
                f"nest {nest.name}: the axis {shown} of an operand is no dimension and no sum of "
                "two; such a nest cannot be scored"
            )
    return Access(
        tuple(plain),
        tuple(windows),
        tuple(dim in projection.dims for dim in nest.dims),
        tuple(number in plain for number in range(len(nest.dims))),
    )
