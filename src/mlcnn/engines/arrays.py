"""Inputs of a network: what it asks for, whether given arrays fit, and random ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from mlcnn.engines.engine import Array, Arrays
from mlcnn.errors import InputError
from mlcnn.graph import clone

__all__ = ["Signature", "check_inputs", "fix_shapes", "fixed_shapes", "random_inputs", "signatures"]


@dataclass(frozen=True, slots=True)
class Signature:
    """One input of a network.

    Attributes:
        name: name of the input.
        dtype: type of the elements.
        shape: sizes; a text or None where any size is allowed. None if the rank is not known.
    """

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        known = ["?" if size in {None, ""} else str(size) for size in self.shape or ()]
        sizes = "?" if self.shape is None else ", ".join(known)
        return f"{self.name}: {self.dtype.name}({sizes})"


def _size(size: int | ir.SymbolicDim) -> int | str | None:
    return size if isinstance(size, int) else size.value


def signatures(model: ir.Model) -> tuple[Signature, ...]:
    """The inputs that a network needs at each run, in order.

    Args:
        model: initializers among its inputs are left out.
    """
    found: list[Signature] = []
    for value in model.graph.inputs:
        if value.is_initializer():
            continue
        dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
        shape = None if value.shape is None else tuple(_size(size) for size in value.shape)
        found.append(Signature(value.name or "", dtype, shape))
    return tuple(found)


def _fits(shape: tuple[int, ...], wanted: Signature) -> bool:
    if wanted.shape is None:
        return True
    return len(shape) == len(wanted.shape) and all(
        not isinstance(size, int) or size == given
        for given, size in zip(shape, wanted.shape, strict=True)
    )


def check_inputs(wanted: Sequence[Signature], inputs: Arrays) -> None:
    """Check arrays against what a network asks for.

    Raises:
        InputError: a missing or unknown input, a wrong type or shape.
    """
    names = {signature.name for signature in wanted}
    if names != set(inputs):
        raise InputError(
            f"the network takes {'; '.join(map(str, wanted)) or 'no inputs'}, got "
            f"{', '.join(sorted(inputs)) or 'nothing'}"
        )
    for signature in wanted:
        array = inputs[signature.name]
        if array.dtype != signature.dtype or not _fits(array.shape, signature):
            sizes = ", ".join(map(str, array.shape))
            raise InputError(
                f"the network takes {signature}, got {array.dtype.name}({sizes}) for it"
            )


def fixed_shapes(
    model: ir.Model, batch: int, shapes: Mapping[str, Sequence[int]] | None = None
) -> dict[str, tuple[int, ...]]:
    """A shape without dynamic sizes for each input.

    Args:
        model: the network.
        batch: for the first size of each input, where it is dynamic.
        shapes: whole shapes by name of the input, for those with other dynamic sizes.

    Raises:
        InputError: a batch that the network does not take, or a size that is 0 or unknown.
    """
    if batch < 1:
        raise InputError(f"batch must be 1 or more, got {batch}")
    fixed: dict[str, tuple[int, ...]] = {}
    for signature in signatures(model):
        given = (shapes or {}).get(signature.name)
        sizes = list(given if given is not None else signature.shape or (None,))
        if 0 in sizes:
            raise InputError(
                f"the network's input {signature} has a size of 0, so there is nothing to run; "
                "export it for one image or more, or with a dynamic batch"
            )
        if sizes and not isinstance(sizes[0], int):
            sizes[0] = batch
        elif given is None and sizes and sizes[0] != batch:
            raise InputError(
                f"batch {batch}: the network's input {signature} has a fixed batch; export it "
                "with a dynamic one"
            )
        known = tuple(size for size in sizes if isinstance(size, int))
        if (signature.shape is None and given is None) or len(known) != len(sizes):
            raise InputError(
                f"the size of the network's input {signature} is not known: give --input-shape"
            )
        fixed[signature.name] = known
    return fixed


def random_inputs(
    model: ir.Model,
    batch: int = 1,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
) -> dict[str, Array]:
    """Standard normal arrays (zeros where the type is not a float) for every input.

    Args:
        model: the network.
        batch: see ``fixed_shapes``.
        shapes: see ``fixed_shapes``.
        seed: the same seed gives the same arrays.

    Raises:
        InputError: see ``fixed_shapes``.
    """
    generator = np.random.default_rng(seed)
    fixed = fixed_shapes(model, batch, shapes)
    result: dict[str, Array] = {}
    for signature in signatures(model):
        shape, dtype = fixed[signature.name], signature.dtype
        # bfloat16 and the 8-bit floats are no subtype of numpy's floating.
        if np.issubdtype(dtype, np.floating) or "float" in dtype.name:
            result[signature.name] = generator.standard_normal(shape, np.float32).astype(dtype)
        else:
            result[signature.name] = np.zeros(shape, dtype)
    return result


def fix_shapes(model: ir.Model, shapes: Mapping[str, Sequence[int]]) -> ir.Model:
    """A copy whose inputs have fixed sizes, since engines plan memory and kernels better then.

    Args:
        model: the network.
        shapes: a whole shape for each input, by name.
    """
    copied = clone(model)
    named: dict[str, int] = {}
    for value in copied.graph.inputs:
        shape = shapes.get(value.name or "")
        if shape is None:
            continue
        for old, new in zip(value.shape or (), shape, strict=False):
            if isinstance(old, ir.SymbolicDim) and old.value is not None:
                named[old.value] = new
        value.shape = ir.Shape(shape)
    for node in copied.graph:
        for value in node.outputs:
            if value.shape is not None:
                value.shape = ir.Shape(
                    named.get(size.value or "", size) if isinstance(size, ir.SymbolicDim) else size
                    for size in value.shape
                )
    return copied
