"""A whole network through the simulated hardware, every layer against the integer model.

Layers that follow each other without the host between them are one program, in which each reads
where the one before wrote. A layer is compared with what the integer model gives for the codes that
the hardware's layer read, so that a fault is found where it happens.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlcnn.accelerators.array.steps import Hardware
from mlcnn.rtl.build import Build
from mlcnn.rtl.comparison import Comparison, LayerRun, Took
from mlcnn.rtl.network import HardwareStep, HostStep, IntegerNetwork
from mlcnn.rtl.program import Program, write_program
from mlcnn.rtl.simulator import DRAM_LATENCY, WRITE_LATENCY
from mlcnn.rtl.tiling import LayerTiling
from mlcnn.rtl.timing import Ready, layer_cycles, steps_of, walk

__all__ = ["NetworkRun", "Runs", "Setting", "parts_of", "simulate"]

Whole = NDArray[np.int64]
Progress = Callable[[str, int, int], None]


class _Done(Protocol):
    @property
    def memory(self) -> NDArray[np.uint8]: ...
    @property
    def layers(self) -> Sequence[Took]: ...


class Runs(Protocol):
    """What runs programs, one behind the other: ``Chip``."""

    def run(
        self,
        program: Program,
        memory: NDArray[np.uint8],
        *,
        dram_latency: int = DRAM_LATENCY,
        write_latency: int = WRITE_LATENCY,
        stalls: int = 0,
        trace: int = 0,
        wave: tuple[int, Path] | None = None,
    ) -> _Done:
        """Run a program; see ``Chip``."""
        ...


@dataclass(frozen=True, slots=True)
class Setting:
    """The hardware and the memory beside it.

    Attributes:
        build: what is built.
        dram_latency: cycles from a command to its beat.
        write_latency: cycles from a store to its acknowledgement.
        stalls: of a hundred cycles so many take no command, at random.
        seed: of the stalls of the first image; the next has the next one.
    """

    build: Build
    dram_latency: int = DRAM_LATENCY
    write_latency: int = WRITE_LATENCY
    stalls: int = 0
    seed: int = 0

    @property
    def hardware(self) -> Hardware:
        """As the model of cycles takes it."""
        return self.build.hardware(self.dram_latency, self.write_latency)


@dataclass(frozen=True, slots=True)
class NetworkRun:
    """Images through the hardware.

    Attributes:
        layers: in the order in which they ran.
        outputs: what the output's codes stand for, shape (images, classes).
    """

    layers: tuple[LayerRun, ...]
    outputs: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Part:
    """Layers that are one program.

    Attributes:
        steps: the layers.
        program: of them.
    """

    steps: tuple[HardwareStep, ...]
    program: Program


def parts_of(network: IntegerNetwork) -> Iterator[HostStep | tuple[HardwareStep, ...]]:
    """The network's steps, layers of the hardware together that need no host between them."""
    together: list[HardwareStep] = []
    for step in network.steps:
        if isinstance(step, HardwareStep) and all(_passes(one, step) for one in together):
            together.append(step)
            continue
        if together:
            yield tuple(together)
        together = [step] if isinstance(step, HardwareStep) else []
        if isinstance(step, HostStep):
            yield step
    if together:
        yield tuple(together)


def _passes(one: HardwareStep, step: HardwareStep) -> bool:
    """Whether a layer can read what another of its program wrote, if it does."""
    if step.source != one.output:
        return True
    shape = (len(one.layer.weights), *one.layer.outputs)
    return shape == step.layer.shape and one.grid.signed == step.layer.signed


def simulate(
    network: IntegerNetwork,
    images: NDArray[np.float32],
    chip: Runs,
    setting: Setting,
    tilings: Mapping[str, LayerTiling],
    *,
    wave: tuple[int, str, Path] | None = None,
    progress: Progress | None = None,
) -> NetworkRun:
    """Run images through the hardware, and compare every layer with the integer model.

    Args:
        network: what is run.
        images: as the network takes them, one or more.
        chip: the hardware.
        setting: what it was built as, and its memory.
        tilings: how each layer is cut, by its name.
        wave: number of an image, name of a layer, and a file for the layer's signals.
        progress: told how the work goes on.
    """
    parts = [
        part if isinstance(part, HostStep) else _written(part, tilings, setting.build)
        for part in parts_of(network)
    ]
    runs = {
        step.name: Comparison(step, tilings[step.name], configuration, setting.hardware)
        for part in parts
        if not isinstance(part, HostStep)
        for step, configuration in zip(part.steps, part.program.configurations, strict=True)
    }
    bench = _Bench(chip, setting, runs, wave)
    outputs: list[Whole] = []
    for number, image in enumerate(images):
        if progress is not None:
            progress("simulate", number, len(images))
        codes = {network.source: network.input_grid.codes(image[None])}
        for part in parts:
            if isinstance(part, HostStep):
                codes[part.output] = part.run(*(codes[name] for name in part.sources))
            else:
                bench.run(part, codes, number)
        outputs.append(codes[network.output].reshape(1, -1))
    numbers = network.output_grid.numbers(np.concatenate(outputs))
    return NetworkRun(tuple(run.result() for run in runs.values()), numbers)


def _written(
    steps: tuple[HardwareStep, ...], tilings: Mapping[str, LayerTiling], build: Build
) -> _Part:
    layers = [step.layer for step in steps]
    numbers = {step.output: number for number, step in enumerate(steps)}
    reads = [numbers.get(step.source) for step in steps]
    return _Part(steps, write_program(layers, [tilings[s.name] for s in steps], build, reads))


@dataclass(frozen=True, slots=True)
class _Bench:
    """Runs programs, and tells each layer what came of it.

    Attributes:
        chip: the hardware.
        setting: what it was built as, and its memory.
        runs: what is found of each layer, by its name.
        wave: see ``simulate``.
    """

    chip: Runs
    setting: Setting
    runs: Mapping[str, Comparison]
    wave: tuple[int, str, Path] | None

    def run(self, part: _Part, codes: dict[str, Whole], number: int) -> None:
        """Run a program for an image; its codes are added to those that are known."""
        program, memory = part.program, part.program.image.copy()
        made = {step.output for step in part.steps}
        for place, step in enumerate(part.steps):
            if step.source not in made:
                program.write_input(memory, place, codes[step.source].reshape(step.layer.shape))
        done = self.chip.run(
            program,
            memory,
            dram_latency=self.setting.dram_latency,
            write_latency=self.setting.write_latency,
            stalls=self.setting.stalls,
            trace=self.setting.seed + number,
            wave=self._wave(part, number),
        )
        expected = _expected(program, self.setting, number)
        for place, step in enumerate(part.steps):
            read = codes[step.source].reshape(step.layer.shape)
            codes[step.output] = program.read_output(done.memory, place)[None]
            layer = self.runs[step.name]
            layer.compare(number, read, codes[step.output][0])
            layer.time(number, done.layers[place], *expected[place])

    def _wave(self, part: _Part, number: int) -> tuple[int, Path] | None:
        if self.wave is None or self.wave[0] != number:
            return None
        places = {step.name: place for place, step in enumerate(part.steps)}
        _, name, file = self.wave
        return (places[name], file) if name in places else None


def _expected(program: Program, setting: Setting, number: int) -> list[tuple[int, tuple[int, ...]]]:
    """Cycles of each layer of a program, and of its steps, by the model."""
    hardware = setting.hardware
    if not setting.stalls:
        return [
            (layer_cycles(one, hardware), tuple(steps_of(one, hardware).cycles.tolist()))
            for one in program.configurations
        ]
    ready, start = Ready(setting.seed + number, setting.stalls), 0
    found: list[tuple[int, tuple[int, ...]]] = []
    for one in program.configurations:
        walked = walk(one, hardware, ready, start)
        ends = [*walked.steps[1:], walked.end - setting.write_latency]
        lengths = (end - begin for begin, end in zip(walked.steps, ends, strict=True))
        found.append((walked.end - start, tuple(lengths)))
        start = walked.end
    return found
