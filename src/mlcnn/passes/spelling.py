"""Layers of methods as the standard operators that compute them, weights known."""

import onnx_ir as ir

from mlcnn.graph import fold_constants, infer_shapes, inline

__all__ = ["spelled_out"]


def spelled_out(model: ir.Model) -> ir.Model:
    """A copy in which every operator of a method is its body, and what its weights make computed.

    So a mask finds the convolutions of a layer that was fused with its pool, or whose kernels are
    shared: masked where the layer's outputs are, each part gives what the layer has there.

    Args:
        model: the network.
    """
    plain = inline(model, foreign=True)
    infer_shapes(plain)
    folded = fold_constants(plain, spread=True)
    infer_shapes(folded)
    return folded
