"""Which algorithm computes each convolution of a network, and why."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import psutil

from mlcnn.engines.engine import LayerAlgorithm
from mlcnn.engines.native.budget import MOST, within
from mlcnn.engines.native.choice import Asked, Choice, Layer, Rule, fastest
from mlcnn.engines.native.estimate import estimate
from mlcnn.engines.native.kinds import Kind, Sparse, shown
from mlcnn.engines.native.library import Library
from mlcnn.engines.native.machine import Machine
from mlcnn.engines.native.measured import Stopwatch
from mlcnn.engines.native.paying import in_bits, paying
from mlcnn.engines.native.saved import MismatchError, saved
from mlcnn.engines.native.winograd import Winograd
from mlcnn.errors import InputError, UnsupportedError, did_you_mean

__all__ = ["ALGORITHMS", "MEASURED", "Chooser", "Choosing"]

MEASURED = "measured"
ALGORITHMS = ("auto", MEASURED, "direct", "winograd", "sparse", "bits")
_HINT = "auto:"
_LISTED = 4


def _memory() -> int:
    return psutil.virtual_memory().total


@dataclass(frozen=True, slots=True)
class Choosing:
    """How the algorithms of a network are chosen.

    Attributes:
        algorithm: one of ``ALGORITHMS``, or the path of a saved choice. Behind ``auto:`` it is only
            a hint: where it is of another network, batch or processor, ``auto`` chooses.
        machine: what a core can do.
        threads: that compute.
        network_bytes: of all weights.
        memory: bytes that the machine has.

    Raises:
        InputError: there is no such algorithm or file, or the file holds no choice.
    """

    algorithm: str
    machine: Machine
    threads: int
    network_bytes: int
    memory: int = field(default_factory=_memory)

    def __post_init__(self) -> None:
        if self.algorithm in ALGORITHMS:
            return
        path = Path(self.algorithm.removeprefix(_HINT))
        if path.suffix != ".json" and not path.exists():
            hint = did_you_mean(self.algorithm, ALGORITHMS)
            known = ", ".join(ALGORITHMS)
            raise InputError(
                f"unknown algorithm {self.algorithm!r}{hint} (known algorithms: {known}; or a file "
                "that `mlcnn bench --json` wrote)"
            )

    def chooser(self, library: Library) -> "Chooser":
        """A chooser for a network that these kernels compute."""
        notes = list[str]()
        return Chooser(self._rule(library, notes), library, self.machine, notes)

    def _rule(self, library: Library, notes: list[str]) -> Rule:
        if self.algorithm == "direct":
            return _direct
        if self.algorithm == "winograd":
            return self._bounded(_transformed, inf)
        if self.algorithm == "sparse":
            return self._bounded(_skipping, inf)
        if self.algorithm == "bits":
            return self._bounded(in_bits, inf)
        if self.algorithm == MEASURED:
            stopwatch = Stopwatch(library, self.threads, self.network_bytes)
            return self._bounded(_measured(stopwatch), MOST)
        estimated = self._bounded(_estimated, MOST)
        if self.algorithm == "auto":
            return estimated
        if self.algorithm.startswith(_HINT):
            path = Path(self.algorithm.removeprefix(_HINT))
            return _hinted(saved(path), estimated, notes)
        return saved(Path(self.algorithm))

    def _bounded(self, rule: Rule, most: float) -> Rule:
        return lambda layers: within(layers, rule(layers), self.memory, most)


class Chooser:
    """Chooses for the convolutions of a network.

    Attributes:
        choices: those made, in the order of the layers.
        ratios: how long each layer takes by its algorithm, where every product takes 1.
        notes: what the user should know about them.
    """

    def __init__(self, rule: Rule, library: Library, machine: Machine, notes: list[str]) -> None:
        """Choose by a rule, which may add notes; see ``Choosing``."""
        self._rule, self._block, self._machine = rule, library.block, machine
        self.choices: list[LayerAlgorithm] = []
        self.ratios: list[float] = []
        self.notes = notes

    def __call__(self, network: Sequence[Asked]) -> list[Kind]:
        """The transform that computes each layer; None computes every product.

        Args:
            network: the layers.

        Raises:
            InputError: the choice was saved for another network, batch or processor.
            UnsupportedError: transforms were asked for, and no layer is computed by one.
        """
        layers = [self._layer(asked) for asked in network]
        choices = self._rule(layers)
        self.choices = [self._told(*each) for each in zip(layers, choices, strict=True)]
        self.ratios = [_ratio(*each) for each in zip(layers, choices, strict=True)]
        return [choice.kind for choice in choices]

    def _layer(self, asked: Asked) -> Layer:
        geometry = asked.geometry
        ways = {
            kind: estimate(geometry, kind, self._block, self._machine) for kind in geometry.kinds()
        }
        return Layer(asked, ways)

    def _told(self, layer: Layer, choice: Choice) -> LayerAlgorithm:
        figure = layer.ways[choice.kind]
        ms = choice.ms[choice.kind]
        share = figure.useful_macs / (ms / 1e3) / self._machine.macs_per_s
        return LayerAlgorithm(
            layer.name, layer.geometry.shown,
            shown(
                choice.kind, focused=layer.geometry.focused,
                compared=layer.geometry.compared is not None,
            ), choice.reason, ms,
            choice.measured, share, figure.bound, layer.asked.bits,
            {shown(kind): spent for kind, spent in choice.ms.items()},
            layer.geometry.few is not None, paying(layer, choice),
        )  # fmt: skip


def _ratio(layer: Layer, choice: Choice) -> float:
    """How long a layer takes by its algorithm, where every product takes 1."""
    ms = choice.ms if layer.plain in choice.ms else _figures(layer)
    return ms[choice.kind] / ms[layer.plain]


def _figures(layer: Layer) -> dict[Kind, float]:
    return {kind: 1e3 * way.seconds for kind, way in layer.ways.items()}


def _direct(layers: Sequence[Layer]) -> list[Choice]:
    return [Choice(layer.plain, "asked for", _figures(layer)) for layer in layers]


def _estimated(layers: Sequence[Layer]) -> list[Choice]:
    return [fastest(_figures(layer), measured=False) for layer in layers]


def _measured(stopwatch: Stopwatch) -> Rule:
    return lambda layers: [
        fastest(stopwatch.times(layer.geometry, tuple(layer.ways)), measured=True)
        for layer in layers
    ]


def _transformed(layers: Sequence[Layer]) -> list[Choice]:
    """Transforms wherever they fit.

    Raises:
        UnsupportedError: they fit nowhere.
    """
    reasons = {layer.name: layer.geometry.misfit for layer in layers}
    if all(reason is not None for reason in reasons.values()):
        told = [f"{name} {reason}" for name, reason in reasons.items()][:_LISTED]
        more = "" if len(reasons) <= _LISTED else f" and {len(reasons) - _LISTED} more"
        raise UnsupportedError(
            "native: --algorithm winograd: it computes 3x3 convolutions with stride 1 or 2 in "
            f"float32, and no layer of this network is one ({', '.join(told) or 'it has none'}"
            f"{more}); use --algorithm measured"
        )
    found = list[Choice]()
    for layer in layers:
        ms = _figures(layer)
        misfit = layer.geometry.misfit
        if misfit is not None:
            found.append(Choice(layer.plain, f"no transform computes it: it {misfit}", ms))
            continue
        choice = fastest(
            {k: spent for k, spent in ms.items() if isinstance(k, Winograd)}, measured=False
        )
        found.append(Choice(choice.kind, choice.reason, ms))
    return found


def _skipping(layers: Sequence[Layer]) -> list[Choice]:
    """Zeros skipped wherever half of the weights or more are zero; elsewhere every product.

    Raises:
        UnsupportedError: they are nowhere.
    """
    if all(layer.geometry.nonzeros is None for layer in layers):
        raise UnsupportedError(
            "native: --algorithm sparse: it skips weights that are exactly zero, and in no "
            "convolution of this network half of them are; use --algorithm measured"
        )
    found = list[Choice]()
    for layer in layers:
        kind = next((kind for kind in layer.ways if isinstance(kind, Sparse)), layer.plain)
        reason = (
            "asked for"
            if isinstance(kind, Sparse)
            else "fewer than half of its weights are zero, or few results"
        )
        found.append(Choice(kind, reason, _figures(layer)))
    return found


def _hinted(rule: Rule, otherwise: Rule, notes: list[str]) -> Rule:
    def chosen(layers: Sequence[Layer]) -> Sequence[Choice]:
        try:
            return rule(layers)
        except MismatchError as error:
            notes.append(f"{error.what}; it is ignored")
            return otherwise(layers)

    return chosen
