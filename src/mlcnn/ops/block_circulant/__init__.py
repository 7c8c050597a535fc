"""Block-circulant weights [Wang 2018], [CirCNN]: k numbers for the k^2 of a block."""

from mlcnn.ops.block_circulant.energy import KeptEnergy
from mlcnn.ops.block_circulant.module import make_layer
from mlcnn.ops.block_circulant.operator import (
    KIND,
    OPERATORS,
    Blocks,
    blocks_of,
    convolve,
    dense_weight,
    multiply,
    projected,
    read,
    structure,
)
from mlcnn.ops.block_circulant.pairs import SpectralPairs
from mlcnn.ops.block_circulant.restoring import restore
from mlcnn.ops.block_circulant.spectral import Spectral, SpectralBatch
from mlcnn.ops.method import Method

__all__ = [
    "BLOCK_CIRCULANT",
    "KIND",
    "Blocks",
    "KeptEnergy",
    "blocks_of",
    "convolve",
    "dense_weight",
    "multiply",
    "projected",
    "structure",
]

BLOCK_CIRCULANT = Method(
    name=KIND,
    forms=(Spectral(), SpectralPairs(), SpectralBatch()),
    operators=OPERATORS,
    read=read,
    layer=make_layer,
    restore=restore,
    summary="weights in circulant blocks: k numbers for k x k, multiplied by Fourier transforms",
)
