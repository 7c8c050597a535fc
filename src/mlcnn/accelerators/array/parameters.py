"""The numbers of several arrays beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlcnn.accelerators.array.description import ArrayDescription
from mlcnn.accelerators.array.tiling import Floats, Indices

__all__ = ["Parameters"]


@dataclass(frozen=True, slots=True)
class Parameters:
    """The numbers of several machines that set cycles; arrays of shape (machines, 1)."""

    slices: Floats
    multipliers: Floats
    input_lanes: Floats
    input_adders: Floats
    input_scalers: Floats
    output_lanes: Floats
    pooling_adders: Floats
    buffer_bytes: Floats
    row_buffer_bytes: Floats
    accumulator_entries: Floats
    input_windows: Floats
    weight_words: Floats
    dram_bytes_per_cycle: Floats
    accumulator_latency: Floats
    pipeline_depth: Floats
    wide_bits: Floats

    @classmethod
    def of(cls, machines: Sequence[ArrayDescription]) -> "Parameters":
        """Gather the numbers of ``machines``."""
        columns = {
            name: np.array([[float(getattr(machine, name))] for machine in machines])
            for name in cls.__slots__
        }
        adders = columns["pooling_adders"]
        columns["pooling_adders"] = np.where(adders > 0, adders, columns["input_adders"])
        return cls(**columns)

    def take(self, owners: Indices) -> "Parameters":
        """Those of one machine for each of ``owners``, as flat arrays."""
        return Parameters(*(getattr(self, name)[owners, 0] for name in self.__slots__))
