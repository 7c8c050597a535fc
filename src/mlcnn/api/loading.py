"""One way in for every kind of network."""

import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir
import torch
from torch import nn

from mlcnn import graph, zoo
from mlcnn.api.memory import require_memory_for_input
from mlcnn.errors import InputError
from mlcnn.graph import ExampleInput
from mlcnn.passes import pipeline, restore
from mlcnn.zoo import hubs
from mlcnn.zoo.state_files import PICKLES, SAFETENSORS

__all__ = [
    "ExampleInput",
    "Rewritten",
    "Source",
    "alike",
    "as_defined",
    "by_x",
    "images_taken",
    "is_zoo_name",
    "load",
    "model_name",
    "zoo_entry",
]


class Rewritten:
    """What ``optimize`` gives: a source like any other.

    Attributes:
        original: the network as it was loaded.
        model: the rewritten network.
    """

    __slots__ = ()

    original: ir.Model
    model: ir.Model


Source = str | os.PathLike[str] | nn.Module | ir.Model | onnx.ModelProto | Rewritten

_PICKLED = PICKLES | {".pkl", ".pickle", ".joblib"}
_CALLABLE = re.compile(r"[\w.]+:[\w.]+\(")
_LOGGER = logging.getLogger(__name__)
_NOTE = 25  # told without -v, and no warning: see mlcnn.cli.configuring


def is_zoo_name(source: Source) -> bool:
    """Whether ``source`` names a network of the zoo: neither a path nor a name with a colon."""
    return isinstance(source, str) and not _is_path(source) and ":" not in source


def model_name(source: Source) -> str:
    """A short name for files and titles.

    Raises:
        InputError: ``source`` is of a type that holds no network.

    Example:
        >>> model_name("vgg16"), model_name("nets/small.onnx"), model_name("shop.nets:build")
        ('vgg16', 'small', 'build')
        >>> model_name("timm:resnet50.a1_in1k"), model_name("hf:ORG/NAME:onnx/model.onnx")
        ('resnet50.a1_in1k', 'NAME')
    """
    match source:
        case str() if is_zoo_name(source):
            return source
        case str() if not _is_path(source):
            return hubs.short_name(source)
        case str() | os.PathLike():
            return Path(source).stem
        case nn.Module():
            return type(source).__name__.lower()
        case ir.Model() | onnx.ModelProto():
            return source.graph.name or "network"
        case Rewritten():
            return source.original.graph.name or "network"
        case _:  # pyright: ignore[reportUnnecessaryComparison] - users
            raise _no_source(source)


def _no_source(given: object) -> InputError:
    return InputError(
        f"a {type(given).__name__} is no network: give a zoo name, the path of an .onnx or .pt2 "
        "file, a name of a source as timm:resnet50, package.module:callable, a torch module, an "
        "ONNX model, or what mlcnn.optimize returned"
    )


def load(
    source: Source,
    example_input: ExampleInput | None = None,
    *,
    input_shape: Sequence[int] | None = None,
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
    dropout: bool = False,
    image_shape: Sequence[int] | None = None,
) -> ir.Model:
    """A network as an ONNX model that every pass takes.

    Args:
        source: a zoo name, the path of an ``.onnx`` or ``.pt2`` file, a name with the prefix of a
            source of networks (``timm:resnet50``, ``hf:ORG/NAME``; see ``mlcnn.zoo.hubs``),
            ``package.module:callable``, either perhaps with literal arguments (``(size=18)``), a
            torch module, an ONNX model, or what ``optimize`` returned: its rewritten network. It
            is not changed.
        example_input: what a torch module is called with: a tensor, a tuple or list of arguments,
            or a dict of arguments by name. Only shapes and types count.
        input_shape: shape of the one input, batch first: instead of an example input, or to fix
            the dynamic sizes of a file. A dynamic batch stays dynamic.
        weights: an ``.npz`` or ``.safetensors`` file of arrays by parameter name, or a state dict
            that ``torch.save`` wrote, for a name of the zoo or a source, or a callable.
        seed: of the random weights of a network that has no trained ones.
        dropout: keep the dropout of a torch module (or what makes one), so that the network can be
            trained; it does nothing in inference.
        image_shape: (channels, height, width) of the images at hand, which a module takes that
            comes with neither an example input nor ``input_shape``.

    Returns:
        A model of its own, at opset 20 or newer, constants folded and shapes inferred.

    Raises:
        InputError: the source cannot be read, or does not go with the other arguments.
    """
    if input_shape is not None:
        require_memory_for_input(input_shape)
    if weights is not None and (not isinstance(source, str) or _is_path(source)):
        raise InputError(
            f"--weights {weights}: {_told(source)} comes with its own; only a name of the zoo or "
            "of a source, as timm:resnet50, and package.module:callable take weights"
        )
    # Two images: one would make the exporter take the batch for a constant.
    usual_shape = None if image_shape is None else (2, *image_shape)
    if isinstance(source, nn.Module):
        shape = usual_shape if input_shape is None else input_shape
        return graph.from_module(
            source,
            _inputs(source, example_input, shape),
            dropout=dropout,
        )
    if example_input is not None:
        raise InputError(
            f"an example input goes with a torch module, not with {type(source).__name__}: give "
            "input_shape to fix dynamic sizes"
        )
    path = None if weights is None else Path(weights)
    if isinstance(source, str) and hubs.has_prefix(source):
        shapes = input_shape, usual_shape
        return _from_source(hubs.wanted(source, path, seed), shapes, dropout=dropout)
    entry = zoo_entry(source)
    if entry is not None:
        _require_shape(entry, input_shape)
        if entry.passes and path is not None:
            raise InputError(
                f"--weights {path}: {entry.name} is trained as a whole, pairs and fixed taps with "
                "it: give the .onnx file that `mlcnn train` wrote"
            )
        plain = zoo.load(entry.name, weights=path, seed=seed, dropout=dropout)
        return as_defined(plain, entry)
    if isinstance(source, str) and not _is_path(source):
        return _from_callable(source, (input_shape, usual_shape), path, dropout=dropout)
    model = restore(_from_model(source.model if isinstance(source, Rewritten) else source))
    return model if input_shape is None else _with_input_shape(model, tuple(input_shape))


def _told(source: Source) -> str:
    return str(source) if isinstance(source, str | os.PathLike) else f"a {type(source).__name__}"


def _is_path(text: str) -> bool:
    """Whether text means a file. A callable has a colon, and Windows drives have one letter."""
    if hubs.has_prefix(text) or _CALLABLE.match(text):
        return False
    path = Path(text)
    if path.suffix in {".onnx", ".pt2", SAFETENSORS} | _PICKLED or path.exists():
        return True
    return "/" in text or "\\" in text


_Shapes = tuple[Sequence[int] | None, Sequence[int] | None]


def _from_source(wanted: hubs.Wanted, shapes: _Shapes, *, dropout: bool) -> ir.Model:
    """A network of a source, of the shape that is given, its own, or the images'."""
    given, usual = shapes
    made = hubs.network_source(wanted.prefix).make(wanted)
    images, name = made.images, hubs.short_name(wanted.text)
    if isinstance(made.network, Path):
        model = restore(graph.load_file(made.network, made.links))
        return model if given is None else _with_input_shape(model, tuple(given))
    if wanted.weights is not None:
        zoo.load_weights(made.network, wanted.weights)
    own = None if images.shape is None else (2, *images.shape)
    shape = given or own or usual
    if shape is None:
        raise InputError(
            f"{wanted.text}: its input's shape is not known; give --input-shape (batch first, for "
            "example 1x3x224x224)"
        )
    model = graph.from_module(
        made.network, _inputs(made.network, None, shape), name=wanted.text, dropout=dropout
    )
    model.graph.name = name
    _LOGGER.log(_NOTE, "%s %s", name, images)
    return model


def _from_callable(
    target: str, shapes: _Shapes, weights: Path | None, *, dropout: bool
) -> ir.Model:
    given, usual = shapes

    def fill(module: nn.Module) -> None:
        if weights is not None:
            zoo.load_weights(module, weights)

    try:
        return graph.from_callable(target, given, dropout=dropout, usual_shape=usual, fill=fill)
    except InputError as error:
        prefix = target.partition(":")[0]
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and missing.name == prefix:
            raise hubs.unknown_prefix(target, prefix, is_module=True) from error
        raise


def images_taken(source: Source) -> hubs.Images | None:
    """What a network of a source was trained to take; None for what is of no source.

    Raises:
        InputError: the source has no such network, or its package is missing.
    """
    if not isinstance(source, str) or not hubs.has_prefix(source):
        return None
    wanted = hubs.wanted(source)
    return hubs.network_source(wanted.prefix).images(wanted)


def _from_model(source: str | os.PathLike[str] | ir.Model | onnx.ModelProto) -> ir.Model:
    if isinstance(source, onnx.ModelProto):
        return graph.from_proto(source)
    if isinstance(source, ir.Model):
        # A model from elsewhere may not be in the form that passes expect.
        return graph.from_proto(graph.to_proto(source))
    if not isinstance(source, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _no_source(source)
    path = Path(source)
    found = hubs.PREFIX.match(str(source))
    if found is not None and not path.exists():
        raise hubs.unknown_prefix(str(source), found[1])
    if path.suffix == ".onnx":
        return graph.load_file(path)
    if path.suffix == ".pt2":
        return graph.load_program(path)
    if path.suffix in _PICKLED:
        raise InputError(
            f"{path}: a pickled checkpoint runs code when it is opened, so it is refused; of "
            f"weights alone, give the network and them: package.module:callable --weights {path}, "
            f"or timm:NAME --weights {path}; load a whole network in a program of yours and call "
            "mlcnn.optimize(module, example_input), or export it to .pt2 with torch.export.save"
        )
    if path.suffix == SAFETENSORS:
        raise InputError(
            f"{path}: weights alone; give the network, too: package.module:callable --weights "
            f"{path}, or timm:NAME --weights {path}"
        )
    if not path.exists():
        raise InputError(f"{path}: no such file")
    raise InputError(f"{path}: not a kind of file that is read; .onnx or .pt2 is required")


def zoo_entry(source: Source) -> zoo.ZooEntry | None:
    """The zoo's entry of a source; None for what is no zoo name.

    Raises:
        InputError: the zoo has no network of this name.
    """
    if not isinstance(source, str) or not is_zoo_name(source):
        return None
    try:
        return zoo.describe(source)
    except InputError as error:
        raise InputError(
            f"{error}. A file is given with its suffix (.onnx, .pt2), a function as "
            "package.module:callable, a network of another package as timm:NAME"
        ) from None


def as_defined(model: ir.Model, entry: zoo.ZooEntry) -> ir.Model:
    """The network of an entry, made of what the zoo defines by the passes that the entry names."""
    return pipeline.run(model, pipeline.parse(entry.passes)).model if entry.passes else model


def _require_shape(entry: zoo.ZooEntry, input_shape: Sequence[int] | None) -> None:
    if input_shape is not None and tuple(input_shape[1:]) != entry.input_shape:
        raise InputError(
            f"--input-shape {by_x(input_shape)}: {entry.name} takes Nx{by_x(entry.input_shape)}"
        )


def _inputs(
    module: nn.Module, example: ExampleInput | None, shape: Sequence[int] | None
) -> ExampleInput:
    if example is not None:
        return example
    if shape is None:
        raise InputError(
            f"{type(module).__name__}: its input's shape is not known; give an example input or "
            "input_shape, batch first"
        )
    floats = (item.dtype for item in module.parameters() if item.dtype.is_floating_point)
    return (torch.zeros(tuple(shape), dtype=next(floats, torch.float32)),)


def by_x(shape: Iterable[object]) -> str:
    """Sizes as text; ``?`` for one that has no name."""
    return "x".join("?" if size in {"None", ""} else size for size in map(str, shape))


def alike(first: Sequence[object], second: Sequence[object]) -> bool:
    """Whether a shape can be the other: sizes that are numbers agree where both are."""
    return len(first) == len(second) and all(
        a == b or not isinstance(a, int) or not isinstance(b, int)
        for a, b in zip(first, second, strict=True)
    )


def _with_input_shape(model: ir.Model, shape: tuple[int, ...]) -> ir.Model:
    """A copy with the dynamic sizes of its one input fixed; a dynamic batch stays dynamic."""
    names = [value.name for value in model.graph.inputs]
    if len(names) != 1:
        raise InputError(
            f"--input-shape {by_x(shape)}: the network has {len(names)} inputs "
            f"({', '.join(map(str, names))}), it can be given for one input only"
        )
    model = graph.clone(model)
    value = model.graph.inputs[0]
    dims = list(shape) if value.shape is None else list(value.shape.dims)
    if not alike(dims, shape):
        raise InputError(
            f"--input-shape {by_x(shape)}: input {value.name!r} of the network is {by_x(dims)}"
        )
    value.shape = ir.Shape([dims[0] if dims else 1, *shape[1:]])
    graph.infer_shapes(model)
    graph.settle_pools(model)
    return model
