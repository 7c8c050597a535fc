"""Trained weights back into the network."""

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph import clone
from mlcnn.nn.assemble import Binding, assemble, lift_constants

__all__ = ["write_weights"]


def write_weights(module: nn.Module, model: ir.Model) -> ir.Model:
    """The network with the module's weights and running statistics.

    Args:
        module: what ``to_module(model)`` gave, trained since; or a module whose ``state_dict`` has
            the same names and shapes.
        model: the network that the module was made from; it is not changed.

    Returns:
        A copy of ``model``; its initializers keep their names, shapes and types.

    Raises:
        InputError: if the module is of another network, or a weight is not finite.
        UnsupportedError: if a weight lies inside a model-local function.
    """
    bindings = assemble(model).bindings
    state = module.state_dict()
    result = clone(model)
    lift_constants(result)
    for binding in bindings:
        value = result.graph.initializers.get(binding.initializer)
        if value is None or value.const_value is None:
            msg = f"weight {binding.initializer!r} lies inside a function: inline the network first"
            raise UnsupportedError(msg)
        value.const_value = _tensor(state, binding, value.const_value)
    return result


def _tensor(
    state: dict[str, Tensor], binding: Binding, before: ir.TensorProtocol
) -> ir.TensorProtocol:
    name = f"{binding.path}.{binding.weight.name}"
    if name not in state:
        msg = f"the module has no weight {name!r}: it is not made from this network"
        raise InputError(msg)
    kept = state[name].detach().cpu()
    if binding.weight.transposed:
        kept = kept.T
    shape = before.shape.numpy()
    if kept.numel() != before.size or not (binding.weight.flat or tuple(kept.shape) == shape):
        msg = (
            f"the module's weight {name!r} has shape {tuple(state[name].shape)}, "
            f"the network's {binding.initializer!r} has {shape}"
        )
        raise InputError(msg)
    if not bool(torch.isfinite(kept).all()):
        msg = f"the module's weight {name!r} is not finite: its training diverged"
        raise InputError(msg)
    array = np.ascontiguousarray(kept.double().numpy().reshape(shape))
    return ir.tensor(array.astype(before.dtype.numpy()), dtype=before.dtype, name=before.name)
