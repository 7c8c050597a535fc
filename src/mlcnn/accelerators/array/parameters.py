"""The numbers of several arrays beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlcnn.accelerators.array.description import ArrayDescription
from mlcnn.accelerators.array.steps import Hardware
from mlcnn.accelerators.array.tiling import Amounts, Indices

__all__ = ["Parameters"]

_REAL = frozenset({"input_adders", "beat_cycles"})


@dataclass(frozen=True, slots=True)
class Parameters:
    """The numbers of several machines that set cycles; arrays of shape (machines, 1)."""

    slices: Indices
    multipliers: Indices
    lanes: Indices
    groups: Indices
    beat_bytes: Indices
    beat_cycles: Amounts
    input_adders: Amounts
    input_scalers: Indices
    input_bytes: Indices
    weight_bytes: Indices
    row_buffer_bytes: Indices
    accumulator_entries: Indices
    most_ways: Indices
    accumulator_latency: Indices
    pipeline_depth: Indices
    input_stages: Indices
    output_stages: Indices
    dram_latency: Indices
    write_latency: Indices
    wide_bits: Indices

    @classmethod
    def of(cls, machines: Sequence[ArrayDescription]) -> "Parameters":
        """Gather the numbers of ``machines``."""
        columns: dict[str, Any] = {
            name: np.array(
                [[getattr(machine, name)] for machine in machines],
                np.float64 if name in _REAL else np.int64,
            )
            for name in cls.__slots__
        }
        return cls(**columns)

    def take(self, owners: Indices) -> "Parameters":
        """Those of one machine for each of ``owners``, as flat arrays."""
        return Parameters(*(getattr(self, name)[owners, 0] for name in self.__slots__))

    def hardware(self, slices: Any) -> Hardware:
        """What sets how long a step takes, with so many slices at work."""
        return Hardware(
            slices=slices,
            multipliers=self.multipliers,
            lanes=self.lanes,
            beat_bytes=self.beat_bytes,
            accumulate=self.accumulator_latency,
            depth=self.pipeline_depth,
            input_stages=self.input_stages,
            output_stages=self.output_stages,
            dram_latency=self.dram_latency,
            write_latency=self.write_latency,
        )
