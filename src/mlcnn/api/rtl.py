"""Run whole images through the accelerator as hardware, and compare it with its models."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mlcnn import accelerators, graph
from mlcnn.accelerators.loading import load_accelerator
from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.loading import Source, is_zoo_name, load, model_name
from mlcnn.api.optimizing import Progress, silent
from mlcnn.api.quantized_zoo import CodedNetwork, images_to_run, quantised_zoo
from mlcnn.errors import InputError, did_you_mean
from mlcnn.rtl.build import Build
from mlcnn.rtl.choice import choose
from mlcnn.rtl.comparison import LayerRun
from mlcnn.rtl.lowering import lower, require_quantised
from mlcnn.rtl.network import IntegerNetwork, run_network
from mlcnn.rtl.simulation import NetworkRun, Runs, simulate
from mlcnn.rtl.simulation import Setting as HardwareSetting
from mlcnn.rtl.simulator import Simulator, require_tools
from mlcnn.table import Shown, Tabular

__all__ = ["RtlOptions", "RtlSimulation", "simulate_rtl"]

_KINDS = ("mlcnn", "dense")
_RANGES = 64
"""Images that the range of an output is found on, where the network does not round it."""
_STALLS_MOST = 99


@dataclass(frozen=True, slots=True)
class RtlOptions:
    """What is simulated.

    Attributes:
        on: machine, ``mlcnn-int8`` or ``dcnn-int8``, which has no box adders; or a file of one.
        images: how many run.
        stalls: of a hundred cycles so many take no command of the memory, at random.
        seed: of these, and of what is in the memories before.
        slices: of the hardware that is built.
        ways: positions that different slices can work on.
        waves: number of an image and name of a layer, as ``3:conv2``, whose signals are written.
    """

    on: "str | PathLike[str]" = "mlcnn-int8"
    images: int = 10
    stalls: int = 0
    seed: int = 0
    slices: int = 16
    ways: int = 2
    waves: str | None = None

    def __post_init__(self) -> None:
        if self.images < 1:
            raise InputError(f"--images {self.images}: at least one image is required")
        if not 0 <= self.stalls <= _STALLS_MOST:
            raise InputError(
                f"--stalls {self.stalls}: percent of the cycles in which the memory takes nothing; "
                f"0 to {_STALLS_MOST} are possible"
            )

    def wave(self) -> tuple[int, str] | None:
        """Number of the image, and name of the layer.

        Raises:
            InputError: the text is no such pair, or there is no such image.
        """
        if self.waves is None:
            return None
        image, _, layer = self.waves.partition(":")
        if not (image.isascii() and image.isdigit() and layer):
            raise InputError(
                f"--waves {self.waves}: the number of an image and the name of a layer are "
                "required, as 3:conv2"
            )
        if int(image) >= self.images:
            raise InputError(
                f"--waves {self.waves}: images have the numbers 0 to {self.images - 1}; give one "
                "of these, or more images"
            )
        return int(image), layer


@dataclass(frozen=True, slots=True, repr=False)
class RtlSimulation(Tabular):
    """Images through the hardware, compared with the integer model and the model of cycles.

    Attributes:
        name: of the network.
        machine: its name.
        options: what was asked for.
        layers: that the hardware ran.
        on_host: name and operator of what ran on the host.
        accuracy: top-1 on the images: ``hardware``, ``integer`` and ``float``.
        waves: the file of signals, if it was asked for.
        notes: what the reader must know.
    """

    name: str
    machine: str
    options: RtlOptions
    layers: tuple[LayerRun, ...]
    on_host: tuple[tuple[str, str], ...]
    accuracy: dict[str, float]
    waves: Path | None
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether all codes are those of the integer model, and all cycles those of the other."""
        return all(layer.bit_exact and layer.most_apart == 0 for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        """All of it as numbers and texts."""
        return {
            "network": self.name,
            "machine": self.machine,
            "slices": self.options.slices,
            "ways": self.options.ways,
            "stalls": self.options.stalls,
            "layers": self.records(),
            "on_host": [{"name": name, "operator": kind} for name, kind in self.on_host],
            "images": self.options.images,
            "accuracy": self.accuracy,
            "ok": self.ok,
            "waves": None if self.waves is None else str(self.waves),
            "notes": list(self.notes),
        }

    def records(self) -> list[dict[str, Any]]:
        """A row for each layer of the hardware."""
        return [
            {
                "name": layer.name,
                "bit_exact": layer.bit_exact,
                "cycles": layer.cycles,
                "model_cycles": layer.model_cycles,
                "most_apart": layer.most_apart,
                "fused": layer.fused,
                "set_by": dict(layer.set_by),
                "difference": None if layer.apart is None else asdict(layer.apart),
            }
            for layer in self.layers
        ]

    def shown(self) -> Shown:
        """Bits and cycles, layer by layer."""
        options = self.options
        stalls = f", {options.stalls} % of the cycles stalled" if options.stalls else ""
        columns = ("layer", "order", "codes", "cycles", "model", "apart", "set by")
        total = [sum(each) for each in zip(*map(_cycles, self.layers), strict=True)]
        rows = [*map(_row, self.layers), ("all", "", "", *(f"{n:,}" for n in total), "")]
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.accuracy.items())
        notes = [f"accuracy on {_count(options.images)}: {shares}"]
        notes += [f"{name}: {kind} on the host, in whole numbers" for name, kind in self.on_host]
        notes += [f"{layer.name}: {layer.apart}" for layer in self.layers if layer.apart]
        notes += [_step(layer) for layer in self.layers if layer.first_step]
        notes += [] if self.waves is None else [f"signals: {self.waves}"]
        return Shown(
            f"{self.name} on {self.machine}, {_count(options.images)}, {options.slices} slices, "
            f"{options.ways} ways{stalls}; cycles are those of one image",
            columns,
            tuple(rows),
            (*notes, *self.notes),
        )


def simulate_rtl(
    source: Source,
    data: "str | PathLike[str] | None" = None,
    options: RtlOptions | None = None,
    *,
    images: ImageOptions | None = None,
    weights: "str | PathLike[str] | None" = None,
    input_shape: Sequence[int] | None = None,
    chip: Runs | None = None,
    progress: Progress | None = None,
) -> RtlSimulation:
    """Run images through the hardware, layer by layer, and compare every code and every cycle.

    Args:
        source: a quantised network, see ``load``; a network of the zoo that is none is quantised
            first, fused, its ranges found on images that are not simulated.
        data: labelled images; by default those that come with the package, for a zoo network that
            was trained on such.
        options: what is simulated.
        images: how they go to the network.
        weights: see ``load``.
        input_shape: see ``load``.
        chip: runs the programs; by default the hardware, which is compiled.
        progress: told how the work goes on.

    Raises:
        InputError: an option, the network or the images cannot be used.
        UnsupportedError: a layer that does not run on codes, or no compiler.
        InfeasibleError: a layer is too large for what is built.
    """
    chosen, tell = options or RtlOptions(), progress or silent
    wave = chosen.wave()
    setting = HardwareSetting(
        Build(chosen.slices, chosen.ways), stalls=chosen.stalls, seed=chosen.seed
    )
    plain, machine = _machine(chosen.on)
    if chip is None:
        require_tools()
    tell("load", 0, 0)
    name, imaging = model_name(source), images or ImageOptions()
    if is_zoo_name(source):
        given = quantised_zoo(
            source, data, imaging, chosen.images, weights=weights, input_shape=input_shape
        )
    else:
        model = load(source, input_shape=input_shape)
        require_quantised(model, name)
        labelled = images_to_run(source, data, model, imaging, chosen.images)
        given = CodedNetwork(
            model, model, labelled, labelled.images[chosen.images :], labelled.told
        )
    network = lower(given.model, given.others[:_RANGES], setting.build, name)
    if plain:
        network = _in_plain_order(network)
    _require_layer(network, chosen, wave)
    tilings = {
        step.name: choose(step.layer, setting.build, setting.hardware) for step in network.layers
    }
    file = None if wave is None else Path(f"{name}-{wave[1].replace('/', '-')}-{wave[0]}.vcd")
    first = given.labelled.images[: chosen.images]
    tell("build", 0, 0)
    powered = Simulator(setting.build).power_on(chosen.seed) if chip is None else nullcontext(chip)
    with powered as running:
        run = simulate(
            network,
            first,
            running,
            setting,
            tilings,
            wave=None if wave is None or file is None else (*wave, file),
            progress=tell,
        )
    return RtlSimulation(
        name=name,
        machine=machine,
        options=chosen,
        layers=run.layers,
        on_host=tuple((step.name, step.operator) for step in network.on_host),
        accuracy=_accuracy(network, run, given, first),
        waves=file,
        notes=given.notes,
    )


def _machine(name: "str | PathLike[str]") -> tuple[bool, str]:
    """Whether it lacks box adders, and its name."""
    machine = load_accelerator(name if isinstance(name, str) else Path(name))
    kind, precision = getattr(machine, "kind", None), getattr(machine, "precision", None)
    if kind not in _KINDS or precision is not accelerators.Precision.INT8:
        raise InputError(
            f"--on {name}: there is hardware of arrays for INT8 with box adders and without, and "
            "of no other machine: give mlcnn-int8 or dcnn-int8"
        )
    return kind != _KINDS[0], machine.name


def _in_plain_order(network: IntegerNetwork) -> IntegerNetwork:
    """The same for hardware that sums no inputs: the array adds up the windows of pools."""
    steps = (
        replace(step, layer=replace(step.layer, fused=False)) if step in network.layers else step
        for step in network.steps
    )
    return replace(network, steps=tuple(steps))


def _require_layer(
    network: IntegerNetwork, options: RtlOptions, wave: tuple[int, str] | None
) -> None:
    names = [step.name for step in network.layers]
    if not names:
        raise InputError("the network has no convolution and no dense layer: nothing would run")
    if wave is not None and wave[1] not in names:
        near = did_you_mean(wave[1], names, otherwise=f"; there are {', '.join(names)}")
        raise InputError(f"--waves {options.waves}: the hardware runs no layer {wave[1]!r}{near}")


def _accuracy(
    network: IntegerNetwork, run: NetworkRun, given: CodedNetwork, images: NDArray[np.float32]
) -> dict[str, float]:
    entry, labels = given.floats.graph.inputs[0].name or "", given.labelled.labels[: len(images)]
    (exact,) = graph.evaluate(
        given.floats, {entry: torch.from_numpy(images)}, dtype=torch.float32
    ).values()
    outputs = {
        "hardware": run.outputs,
        "integer": run_network(network, images).outputs,
        "float": exact.numpy(),
    }
    return {name: float((each.argmax(1) == labels).mean()) for name, each in outputs.items()}


def _cycles(layer: LayerRun) -> tuple[int, int, int]:
    return layer.cycles, layer.model_cycles, layer.most_apart


def _row(layer: LayerRun) -> tuple[str, ...]:
    unit = max(layer.set_by, key=lambda name: layer.set_by[name])
    return (
        layer.name,
        "fused" if layer.fused else "plain",
        "identical" if layer.bit_exact else "differ",
        f"{layer.cycles:,}",
        f"{layer.model_cycles:,}",
        f"{layer.most_apart:,}",
        f"{unit} {layer.set_by[unit]:.0%}",
    )


def _step(layer: LayerRun) -> str:
    at, took, model = layer.first_step or (0, 0, 0)
    return f"{layer.name}: step {at} takes {took:,} cycles, and the model says {model:,}"


def _count(images: int) -> str:
    return f"{images} image{'s' if images > 1 else ''}"
