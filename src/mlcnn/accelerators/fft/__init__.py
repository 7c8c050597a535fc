"""An FFT engine: layers with block-circulant weights as products of spectra.

One pipelined real FFT core transforms blocks of input channels between DRAM and the buffer, and
blocks of output channels back between the accumulators and DRAM. Between them an array of slices
multiplies and accumulates bin by bin, over blocks and taps: transforms of the next chunk, products
of this one and inverses of the tile before overlap, and share the core. Control has two levels:
counters of tiles, batch and order of a layer; and of the phases of a step. It is not counted.

Not modelled beside what an array does not: weights that stay on the chip from one batch to the
next. Within a layer they are read once for the whole batch where the buffer holds them.
"""

from mlcnn.accelerators.fft.activity import Activity, activity
from mlcnn.accelerators.fft.area import CoreArea, EngineArea, core_area, engine_area
from mlcnn.accelerators.fft.core import Core
from mlcnn.accelerators.fft.file import FftFile
from mlcnn.accelerators.fft.machine import FftEngine
from mlcnn.accelerators.fft.spectral import PooledSpectral, Spectral, in_blocks

__all__ = [
    "Activity",
    "Core",
    "CoreArea",
    "EngineArea",
    "FftEngine",
    "FftFile",
    "PooledSpectral",
    "Spectral",
    "activity",
    "core_area",
    "engine_area",
    "in_blocks",
]
