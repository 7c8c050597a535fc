"""Kernels that are sums of a few shared ones [PENNI]: d numbers for the R S of a kernel."""

from mlcnn.ops.method import Method
from mlcnn.ops.shared_kernels.channels import CHANNELS
from mlcnn.ops.shared_kernels.forms import Rebuilt, Split, TwoStage, kept, nonzero
from mlcnn.ops.shared_kernels.module import make_layer
from mlcnn.ops.shared_kernels.operator import (
    KIND,
    OPERATORS,
    basis_of,
    convolve,
    decomposed,
    dense_weight,
    energies,
    read,
    structure,
)
from mlcnn.ops.shared_kernels.restoring import restore

__all__ = [
    "KIND",
    "SHARED_KERNELS",
    "basis_of",
    "convolve",
    "decomposed",
    "dense_weight",
    "energies",
    "kept",
    "structure",
]

SHARED_KERNELS = Method(
    name=KIND,
    forms=(TwoStage(), Split(), Rebuilt()),
    operators=OPERATORS,
    read=read,
    layer=make_layer,
    restore=restore,
    row_input=2,
    nonzero=nonzero,
    channels=CHANNELS,
    plain=Rebuilt.name,
    summary="all kernels of a layer are sums of a few: d numbers for the R x S of a kernel",
)
