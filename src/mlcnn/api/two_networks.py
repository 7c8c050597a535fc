"""A network beside another: both as they are, no pass is applied to either."""

import os
from collections.abc import Mapping, Sequence
from os import PathLike

import onnx_ir as ir

from mlcnn import accelerators, engines, graph, zoo
from mlcnn.accelerators.border import is_file
from mlcnn.api.loading import Source, alike, is_zoo_name, load, model_name
from mlcnn.api.options import NO_REWRITE, RewriteOptions
from mlcnn.errors import InputError

__all__ = ["as_they_are", "is_network", "named", "with_inputs_of"]


def is_network(against: object) -> bool:
    """Whether what a network is compared with is another one, and not a machine."""
    if isinstance(against, str | os.PathLike) and is_file(os.fspath(against)):
        return False
    if not isinstance(against, str):
        return True
    if against in accelerators.accelerator_names():
        return False
    return not is_zoo_name(against) or against in zoo.names(variants=True)


def as_they_are(
    source: Source,
    against: Source,
    rewriting: RewriteOptions,
    *,
    input_shape: Sequence[int] | None,
    weights: "str | PathLike[str] | None",
) -> tuple[ir.Model, ir.Model]:
    """Two networks, loaded and not rewritten.

    Args:
        source: the one asked about.
        against: the one that it is compared with.
        rewriting: what was asked for beside it: nothing is allowed.
        input_shape: see ``load``; of both.
        weights: see ``load``; of ``source``.

    Raises:
        InputError: a rewrite was asked for, or one of them cannot be loaded.
    """
    if rewriting != NO_REWRITE:
        raise InputError(
            f"--against {_told(against)}: two networks are compared as they are; leave the options "
            "of the rewrite away, or rewrite one with mlcnn optimize first"
        )
    after = load(source, input_shape=input_shape, weights=weights)
    return after, load(against, input_shape=input_shape)


def _told(source: Source) -> str:
    return str(source) if isinstance(source, str | os.PathLike) else model_name(source)


def named(source: Source, against: Source) -> tuple[str, str]:
    """What the two are called in front of the user: by their files where their names are one."""
    names = model_name(source), model_name(against)
    if names[0] != names[1]:
        return names
    told = _told(source), _told(against)
    return told if told[0] != told[1] else (f"{told[0]} (after)", f"{told[1]} (before)")


def with_inputs_of(model: ir.Model, other: ir.Model) -> ir.Model:
    """The network with its inputs called as the other's, so that both are fed the same.

    Raises:
        InputError: they take other numbers, types or sizes of inputs.
    """
    mine, theirs = engines.signatures(model), engines.signatures(other)
    if len(mine) != len(theirs) or not all(map(_alike, mine, theirs)):
        raise InputError(
            f"the two networks take different inputs: one {_listed(theirs)}, the other "
            f"{_listed(mine)}; give two that run on the same"
        )
    names = {a.name: b.name for a, b in zip(mine, theirs, strict=True)}
    return model if all(a == b for a, b in names.items()) else _renamed(model, names)


def _renamed(model: ir.Model, names: Mapping[str, str]) -> ir.Model:
    model = graph.clone(model)
    taken = graph.value_names(model) | set(names.values())
    inputs = {v: names[v.name] for v in model.graph.inputs if v.name and v.name in names}
    for body in model.graphs():
        for value in (*body.inputs, *(out for node in body for out in node.outputs)):
            if value.name and value.name in inputs.values():
                value.name = graph.free_name(value.name, taken)
    for name, value in list(model.graph.initializers.items()):
        if name in inputs.values():
            value.name = graph.free_name(name, taken)
    for value, name in inputs.items():
        value.name = name
    return model


def _alike(first: engines.Signature, second: engines.Signature) -> bool:
    if first.dtype != second.dtype or first.shape is None or second.shape is None:
        return first.dtype == second.dtype
    return alike(first.shape, second.shape)


def _listed(signatures: Sequence[engines.Signature]) -> str:
    return ", ".join(map(str, signatures)) or "none"
