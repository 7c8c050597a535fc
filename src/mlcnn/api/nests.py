"""The loop nests of a network's layers, and one of them by its name."""

import importlib.util
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import onnx_ir as ir

from mlcnn import workload, zoo
from mlcnn.accelerators import LayerTask
from mlcnn.accelerators.machine import unknown_parts
from mlcnn.accelerators.network import require_tasks, tasks_of
from mlcnn.api.benchmarking import fixed_batch
from mlcnn.api.evaluation import for_machines
from mlcnn.api.loading import Source, load, model_name
from mlcnn.api.optimizing import default_passes
from mlcnn.api.options import NO_REWRITE, RewriteOptions
from mlcnn.errors import InputError, UnsupportedError, did_you_mean
from mlcnn.workload import Arithmetic, Layer, LoopNest, NestForm, Workload, loop_nest
from mlcnn.zoo import hubs

__all__ = [
    "NetworkOptions",
    "layer_nest",
    "network_forms",
    "network_nests",
    "network_tasks",
    "split_layer",
]

_FILES = (".onnx", ".pt2", ".safetensors")


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """How a network is read for mapping.

    Attributes:
        form: how a layer that a pool is fused with is computed; but for ``plain`` the network is
            rewritten first, every site fused that can be.
        batch: images; None for 1, or what the network is fixed to.
        input_shape: see ``mlcnn.load``.
        weights: see ``mlcnn.load``.
        rewriting: which passes run, where any does.
    """

    form: NestForm = NestForm.PLAIN
    batch: int | None = None
    input_shape: Sequence[int] | None = None
    weights: "str | PathLike[str] | None" = None
    rewriting: RewriteOptions = NO_REWRITE

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise InputError(f"--batch {self.batch}: it must be 1 or more")


def split_layer(target: str) -> tuple[str, str | None]:
    """The network and the layer of a text like ``resnet18-224:layer1.0.conv1``.

    A file's name ends at its suffix, that of a callable (``package.module:callable``) before the
    second colon, and so does that of a network of a source (``timm:NAME``).

    Args:
        target: a network with a layer's name behind a colon, or without.

    Raises:
        InputError: it names neither a network of the zoo nor a module.

    Example:
        >>> split_layer("lenet5:conv1"), split_layer("nets/a.onnx:b:0"), split_layer("a.onnx")
        (('lenet5', 'conv1'), ('nets/a.onnx', 'b:0'), ('a.onnx', None))
    """
    for suffix in _FILES:
        head, found, tail = target.partition(f"{suffix}:")
        if found:
            return f"{head}{suffix}", tail
        if target.endswith(suffix):
            return target, None
    if hubs.has_prefix(target):
        return hubs.split_source(target)
    head, colon, tail = target.partition(":")
    if not colon:
        return target, None
    if head in zoo.names(variants=True):
        return head, tail
    if not _is_module(head):
        try:  # the zoo knows more names than it lists, and the nearest
            zoo.describe(head)
        except InputError as error:
            raise InputError(
                f"{error}. There is no module {head!r} either; a layer stands behind a network as "
                "resnet18-224:layer1.0.conv1, net.onnx:conv1 or package.module:callable:conv1"
            ) from None
        return head, tail
    return hubs.split_source(target)


def _is_module(name: str) -> bool:
    top = name.partition(".")[0]
    if not top.isidentifier():
        return False
    found = Path(top).is_dir() or Path(f"{top}.py").is_file()
    return found or importlib.util.find_spec(top) is not None


def layer_nest(source: Source, name: str, options: NetworkOptions) -> LoopNest:
    """The loop nest of one layer of a network.

    Args:
        source: see ``mlcnn.load``.
        name: of the layer.
        options: how the network is read.

    Raises:
        InputError: the network has no such layer; the message names the nearest.
        UnsupportedError: it is no loop nest here.
    """
    found = _read(source, options)
    layer = next((one for one in found.layers if one.name == name), None)
    if layer is not None:
        return _nest(layer, options.form)
    other = next((one for one in found.uncounted if one.name == name), None)
    if other is not None:
        raise UnsupportedError(
            f"layer {name} of {model_name(source)} is no loop nest here: it is a {other.operator}, "
            "and convolutions and dense layers are mapped"
        )
    names = [one.name for one in found.layers]
    hint = did_you_mean(name, names, otherwise=f"; its layers are {', '.join(names)}")
    raise InputError(f"{model_name(source)} has no layer {name!r}{hint}")


def network_nests(
    source: Source, options: NetworkOptions
) -> tuple[tuple[LoopNest, ...], tuple[workload.Uncounted, ...]]:
    """The loop nests of all layers of a network, and what it multiplies beside them.

    Args:
        source: see ``mlcnn.load``.
        options: how the network is read; its form is that of the layers with a pool.

    Raises:
        UnsupportedError: a layer is no loop nest here.
    """
    found = _read(source, options)
    nests = tuple(
        _nest(layer, NestForm.PLAIN if layer.pool is None else options.form)
        for layer in found.layers
    )
    return nests, found.uncounted


def network_forms(
    source: Source, options: NetworkOptions
) -> tuple[tuple[LoopNest, LoopNest | None], ...]:
    """The layers of a network as loop nests, every site with a pool in two forms.

    Args:
        source: see ``mlcnn.load``.
        options: how the network is read.

    Returns:
        For each layer the nest of the convolution, and that of the expanded kernel where the
        layer has a pool whose windows are whole.

    Raises:
        UnsupportedError: a layer is no loop nest here.
    """
    layers = _read(source, options, fused=True).layers
    return tuple((_nest(one, NestForm.PLAIN), _expanded(one)) for one in layers)


def _expanded(layer: Layer) -> LoopNest | None:
    with suppress(UnsupportedError):
        return None if layer.pool is None else _nest(layer, NestForm.EXPANDED)
    return None


def network_tasks(source: Source, options: NetworkOptions) -> tuple[LayerTask, ...]:
    """The layers of a network as accelerators run them, every site fused that can be.

    Args:
        source: see ``mlcnn.load``.
        options: how the network is read; accelerators choose the forms.

    Raises:
        InputError: there is none.
        UnsupportedError: a layer's sizes are not known.
    """
    tasks = tasks_of(_read(source, options, fused=True))
    require_tasks(tasks)
    return tasks


def _read(source: Source, options: NetworkOptions, *, fused: bool = False) -> Workload:
    model = load(source, input_shape=options.input_shape, weights=options.weights)
    if fused or options.form is not NestForm.PLAIN or options.rewriting != NO_REWRITE:
        model = for_machines(model, default_passes(source), options.rewriting)
    return workload.read(model, batch=_batch(model, options.batch))


def _batch(model: ir.Model, asked: int | None) -> int:
    fixed = fixed_batch(model)
    if fixed is not None and asked not in {None, fixed}:
        raise InputError(
            f"--batch {asked}: the network is fixed to a batch of {fixed}; leave the option away, "
            "or export the network with a dynamic batch"
        )
    return fixed or asked or 1


def _nest(layer: Layer, form: NestForm) -> LoopNest:
    """The nest of a layer.

    Raises:
        UnsupportedError: it is more than a loop nest of products.
    """
    wanted = [
        what for what in unknown_parts(layer, {Arithmetic.MULTIPLY}) if what != "three dimensions"
    ]
    if wanted:
        raise UnsupportedError(
            f"layer {layer.name} is no loop nest here: it has {' and '.join(wanted)}, and "
            "multiply-accumulates with dense weights are mapped; mlcnn evaluate runs it on a "
            "machine that takes it"
        )
    return loop_nest(layer.nest, form)
