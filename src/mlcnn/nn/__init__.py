"""Networks as torch modules that train: operator by operator, weights in and out."""

from mlcnn.nn.assemble import to_module
from mlcnn.nn.layers import Layer, Weight
from mlcnn.nn.site import Site
from mlcnn.nn.weights import write_weights

__all__ = ["Layer", "Site", "Weight", "to_module", "write_weights"]
