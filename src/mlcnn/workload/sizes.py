"""Numbers for the dynamic dimensions of a network."""

import math
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph import clone, infer_shapes

__all__ = ["InputShape", "images", "known_sizes", "sizes_of", "with_sizes"]

InputShape = Sequence[int] | Mapping[str, Sequence[int]]
"""The shape of a network's one input, or the shapes of its inputs by name, batch included."""


def with_sizes(
    model: ir.Model, *, batch: int = 1, input_shape: InputShape | None = None
) -> ir.Model:
    """A network whose dynamic input dimensions are numbers, wherever these are known.

    Args:
        model: the network; it is not changed.
        batch: the first dimension of every input where it is dynamic; a static one stays.
        input_shape: sizes for the others, such as height and width; it overrides ``batch``.

    Returns:
        The network itself where nothing is dynamic, else a copy with shapes inferred anew.

    Raises:
        InputError: ``batch`` is not positive; ``input_shape`` names no input, or contradicts the
            network.
    """
    if batch < 1:
        raise InputError(f"the batch is {batch}: it must be at least 1")
    inputs = _inputs(model)
    wanted = _wanted(inputs, input_shape)
    for value in inputs:
        if value.name and value.name in wanted:
            _check_fit(value, wanted[value.name])
    if all(value.shape is not None and value.shape.is_static() for value in inputs):
        return model
    numbers = _numbers(inputs, wanted, batch)
    copy = clone(model)
    for value in ir.convenience.create_value_mapping(copy.graph).values():
        if value.shape is not None:
            value.shape = ir.Shape([_number(dim, numbers) for dim in value.shape.dims])
    for value in _inputs(copy):
        _settle_input(value, wanted.get(value.name or ""), batch)
    if not _is_static(copy):
        infer_shapes(copy)
    if _bound(copy):
        infer_shapes(copy)
    return copy


def _bound(model: ir.Model) -> bool:
    """Give what depends on the data the most entries that it can have; return whether any does."""
    found = False
    for node in model.graph.all_nodes():
        source = node.inputs[0] if node.op_type == "NonZero" else None
        sizes = None if source is None else sizes_of(source)
        if sizes is not None:
            node.outputs[0].shape = ir.Shape([len(sizes), math.prod(sizes)])
            found = True
    return found


def images(model: ir.Model, sized: ir.Model) -> int:
    """The batch: the first size of the input that has a dynamic one, else of the first input.

    Args:
        model: the network.
        sized: the same with numbers, see ``with_sizes``.
    """
    pairs = [
        (before.shape.dims[0], after.shape.dims[0])
        for before, after in zip(_inputs(model), _inputs(sized), strict=True)
        if before.shape and after.shape
    ]
    dynamic = [pair for pair in pairs if not isinstance(pair[0], int)]
    return next((size for _, size in dynamic or pairs if isinstance(size, int)), 1)


def known_sizes(value: ir.Value | None, who: str, what: str) -> tuple[int, ...]:
    """The shape of a value in numbers.

    Args:
        value: the value.
        who: the layer, for messages.
        what: what the value is to it.

    Raises:
        UnsupportedError: a size is not known, or 0.
    """
    sizes = None if value is None else sizes_of(value)
    if sizes is not None and min(sizes, default=1) >= 1:
        return sizes
    dims = None if value is None else _dims(value)
    shown = "unknown" if dims is None else f"({', '.join(str(dim) for dim in dims)})"
    if 0 in (dims or ()):
        raise UnsupportedError(
            f"{who}: the shape of its {what} is {shown}: with a size of 0 there is nothing to "
            "count; export the network for one image or more, or with a dynamic batch"
        )
    raise UnsupportedError(
        f"{who}: the shape of its {what} is {shown} and its operations cannot be counted; give "
        "the network's input a shape in numbers, height and width included (input_shape, on the "
        "command line --input-shape 1x3x224x224)"
    )


def sizes_of(value: ir.Value) -> tuple[int, ...] | None:
    """The shape of a value in numbers; None where a size is not known."""
    dims = _dims(value)
    sizes = tuple(dim for dim in dims or () if isinstance(dim, int))
    return None if dims is None or len(sizes) < len(dims) else sizes


def _dims(value: ir.Value) -> tuple[int | ir.SymbolicDim, ...] | None:
    if value.shape is not None:
        return value.shape.dims
    return None if value.const_value is None else tuple(value.const_value.shape.numpy())


def _inputs(model: ir.Model) -> list[ir.Value]:
    return [value for value in model.graph.inputs if not value.is_initializer()]


def _is_static(model: ir.Model) -> bool:
    values = ir.convenience.create_value_mapping(model.graph).values()
    return all(value.shape is not None and value.shape.is_static() for value in values)


def _numbers(
    inputs: Sequence[ir.Value], wanted: Mapping[str, Sequence[int]], batch: int
) -> dict[str, int]:
    """What the named dimensions are: as the given shapes say, else the batch."""
    numbers: dict[str, int] = {}
    for value in inputs:
        dims = () if value.shape is None else value.shape.dims
        for dim, size in zip(dims, wanted.get(value.name or "", ()), strict=False):
            if isinstance(dim, int) or dim.value is None:
                continue
            if numbers.setdefault(dim.value, size) != size:
                raise InputError(
                    f"the input shapes give dimension {dim.value!r} two sizes, "
                    f"{numbers[dim.value]} and {size} (at input {value.name!r}): give it one"
                )
    for value in inputs:
        first = value.shape.dims[0] if value.shape else 0
        if not isinstance(first, int) and first.value is not None:
            numbers.setdefault(first.value, batch)
    return numbers


def _number(dim: int | ir.SymbolicDim, numbers: Mapping[str, int]) -> int | ir.SymbolicDim:
    return dim if isinstance(dim, int) else numbers.get(dim.value or "", dim)


def _settle_input(value: ir.Value, wanted: Sequence[int] | None, batch: int) -> None:
    if wanted is not None:
        value.shape = ir.Shape(wanted)
    elif value.shape and not isinstance(value.shape.dims[0], int):
        value.shape = ir.Shape([batch, *value.shape.dims[1:]])


def _wanted(
    inputs: Sequence[ir.Value], input_shape: InputShape | None
) -> Mapping[str, Sequence[int]]:
    names = [value.name or "" for value in inputs]
    if input_shape is None:
        return {}
    if not isinstance(input_shape, Mapping):
        if len(names) != 1:
            raise InputError(
                f"one input shape {tuple(input_shape)} was given and the network has "
                f"{len(names)} inputs ({', '.join(names)}): give a shape for each by its name"
            )
        return {names[0]: input_shape}
    unknown = [name for name in input_shape if name not in names]
    if unknown:
        raise InputError(
            f"a shape was given for input {unknown[0]!r}, which the network does not have; "
            f"its inputs are {', '.join(names)}"
        )
    return input_shape


def _check_fit(value: ir.Value, wanted: Sequence[int]) -> None:
    dims = wanted if value.shape is None else value.shape.dims
    fits = len(wanted) == len(dims) and all(
        size >= 1 and (isinstance(dim, ir.SymbolicDim) or dim == size)
        for dim, size in zip(dims, wanted, strict=True)
    )
    if not fits:
        shown = "?" if value.shape is None else ", ".join(str(dim) for dim in dims)
        raise InputError(
            f"input {value.name!r} has shape ({shown}) and was given {tuple(wanted)}: "
            "give positive sizes that agree with the numbers in it"
        )
