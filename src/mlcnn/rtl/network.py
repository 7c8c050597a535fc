"""A network in whole numbers: layers of the hardware, and between them what the host computes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.errors import InputError
from mlcnn.rtl.integer import run_layer
from mlcnn.rtl.layer import IntegerLayer

__all__ = ["CodeGrid", "HardwareStep", "HostStep", "IntegerNetwork", "Ran", "Step", "run_network"]

_SHAPING = frozenset({"Flatten", "Reshape", "Squeeze"})

Whole = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CodeGrid:
    """What codes stand for: ``step * (code - zero)``.

    Attributes:
        step: distance of two neighbours; a float32 above 0.
        zero: the code of 0.
        low: the least code.
        high: the largest code.
    """

    step: float
    zero: int = 0
    low: int = 0
    high: int = 255

    @property
    def signed(self) -> bool:
        """Whether codes are those of int8, and not of uint8."""
        return self.low < 0

    def codes(self, numbers: Floats) -> Whole:
        """The codes of the nearest numbers on the grid, as ONNX's ``QuantizeLinear`` has them."""
        steps = np.rint(numbers.astype(np.float32) / np.float32(self.step))
        return np.clip(steps.astype(np.int64) + self.zero, self.low, self.high)

    def numbers(self, codes: Whole) -> Floats:
        """What codes stand for."""
        return (codes - self.zero).astype(np.float32) * np.float32(self.step)


@dataclass(frozen=True, slots=True)
class HardwareStep:
    """A layer that the hardware runs.

    Attributes:
        layer: in whole numbers.
        source: name of the codes that it reads; flattened ones are channels of one position.
        output: name of the codes that it writes, shape (images, K, P, Q).
        grid: of the output.
    """

    layer: IntegerLayer
    source: str
    output: str
    grid: CodeGrid

    @property
    def name(self) -> str:
        """Of the layer."""
        return self.layer.name


@dataclass(frozen=True, slots=True)
class HostStep:
    """A layer that the host computes, in whole numbers.

    Attributes:
        name: of the layer.
        operator: ONNX's, as ``MaxPool``.
        sources: names of the codes that it reads.
        output: name of the codes that it gives.
        run: the codes of it, of the codes of the sources; all with their images first.
        grid: of the output.
    """

    name: str
    operator: str
    sources: tuple[str, ...]
    output: str
    run: Callable[..., Whole]
    grid: CodeGrid


Step = HardwareStep | HostStep


@dataclass(frozen=True, slots=True)
class IntegerNetwork:
    """A network in whole numbers.

    Attributes:
        steps: in the order in which they run.
        source: name of the input's codes.
        input_grid: of the input, whose numbers the host rounds.
        input_shape: (C, H, W).
        output: name of the codes of the last layer; of logits, as a rule.
        output_grid: of the output.
        rescaled: whether the output's grid was found here, since the network does not round it.
    """

    steps: tuple[Step, ...]
    source: str
    input_grid: CodeGrid
    input_shape: tuple[int, int, int]
    output: str
    output_grid: CodeGrid
    rescaled: bool = False

    @property
    def layers(self) -> tuple[HardwareStep, ...]:
        """What the hardware runs."""
        return tuple(step for step in self.steps if isinstance(step, HardwareStep))

    @property
    def on_host(self) -> tuple[HostStep, ...]:
        """What the host computes, without what only gives codes another shape."""
        return tuple(
            step
            for step in self.steps
            if isinstance(step, HostStep) and step.operator not in _SHAPING
        )


@dataclass(frozen=True, slots=True)
class Ran:
    """What a network gave.

    Attributes:
        outputs: numbers that the output's codes stand for, shape (images, classes).
        codes: of the input and of every step, by name, their images first.
    """

    outputs: Floats
    codes: Mapping[str, Whole]


def run_network(
    network: IntegerNetwork,
    images: Floats,
    layer: Callable[[HardwareStep, Whole], Whole] | None = None,
) -> Ran:
    """Run images through a network in whole numbers.

    Args:
        network: the network.
        images: as the network takes them, shape (images, C, H, W).
        layer: runs a layer of the hardware on codes (images, C, H, W); the integer model if it is
            not given.

    Raises:
        InputError: images of another shape.
        InfeasibleError: sums of a layer could leave 32 bits.
    """
    if images.ndim != 4 or images.shape[1:] != network.input_shape:
        given, taken = ("x".join(map(str, s)) for s in (images.shape[1:], network.input_shape))
        raise InputError(f"the images are {given}, the network takes {taken}")
    run = layer or _run_step
    codes = {network.source: network.input_grid.codes(images)}
    for step in network.steps:
        if isinstance(step, HardwareStep):
            read = codes[step.source].reshape(len(images), *step.layer.shape)
            codes[step.output] = run(step, read)
        else:
            codes[step.output] = step.run(*(codes[name] for name in step.sources))
    outputs = network.output_grid.numbers(codes[network.output])
    return Ran(outputs.reshape(len(images), -1), codes)


def _run_step(step: HardwareStep, codes: Whole) -> Whole:
    return run_layer(step.layer, codes)
