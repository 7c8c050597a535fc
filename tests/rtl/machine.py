"""A machine that does what the models say, or something else where a test wants it to."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlcnn.rtl.integer import run_layer
from mlcnn.rtl.memory import pack_activations, unpack_activations
from mlcnn.rtl.program import Program
from mlcnn.rtl.simulator import LayerCycles, Simulated
from mlcnn.rtl.timing import Ready, layer_cycles, steps_of, walk

__all__ = ["Machine"]


@dataclass
class Machine:
    """Runs the layers of a program on its memory as the models say, but for its faults.

    Attributes:
        wrong: a layer, and a place in its output whose code differs by 1.
        slow: a layer whose second step takes three cycles more.
        programs: names of the layers of each program that it ran.
        waves: what signals were asked for.
    """

    wrong: tuple[str, tuple[int, int, int]] | None = None
    slow: str | None = None
    programs: list[tuple[str, ...]] = field(default_factory=list)
    waves: list[tuple[int, Path]] = field(default_factory=list)

    def run(
        self,
        program: Program,
        memory: NDArray[np.uint8],
        *,
        dram_latency: int = 60,
        write_latency: int = 60,
        stalls: int = 0,
        trace: int = 0,
        wave: tuple[int, Path] | None = None,
    ) -> Simulated:
        """See ``Chip``."""
        self.programs.append(tuple(layer.name for layer in program.layers))
        self.waves += [] if wave is None else [wave]
        memory, ready, start = memory.copy(), Ready(trace, stalls), 0
        hardware = program.build.hardware(dram_latency, write_latency)
        took: list[LayerCycles] = []
        for layer, words in zip(program.layers, program.configurations, strict=True):
            given = memory[words.input_base :]
            codes = run_layer(layer, unpack_activations(given, layer.shape, signed=layer.signed))
            if self.wrong is not None and self.wrong[0] == layer.name:
                codes[self.wrong[1]] ^= 1
            beats = pack_activations(codes)
            memory[words.output_base : words.output_base + len(beats)] = beats
            steps = steps_of(words, hardware).cycles
            cycles = layer_cycles(words, hardware)
            if stalls:
                walked = walk(words, hardware, ready, start)
                cycles, start = walked.end - start, walked.end
                steps = np.diff([*walked.steps, walked.end - write_latency])
            late = 3 if self.slow == layer.name else 0
            lengths = [int(one) + late * (at == 1) for at, one in enumerate(steps)]
            took.append(LayerCycles(cycles + late, tuple(lengths)))
        return Simulated(memory, tuple(took), start)
