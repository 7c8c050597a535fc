"""Post-training quantisation: ranges from calibration images, what is best by validation images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.errors import InputError, did_you_mean
from mlcnn.passes import pipeline
from mlcnn.training.quantisation.calibration import has_bias, mean_outputs, observe, outputs_of
from mlcnn.training.quantisation.grid import (
    WHOLE_BITS,
    Grid,
    check_bits,
    symmetric_codes,
    symmetric_steps,
)
from mlcnn.training.quantisation.observers import OBSERVERS
from mlcnn.training.quantisation.placement import Layer, Means, Placement, fused_means, place
from mlcnn.training.quantisation.writing import LayerCodes, write

__all__ = [
    "LEAST_IMAGES",
    "Calibrated",
    "Candidate",
    "Setting",
    "calibrate",
    "divergence",
    "folded",
]

Floats = NDArray[np.float32]
Progress = Callable[[str, int, int], None]

LEAST_IMAGES = 32
"""Below, the ranges of the last layers rest on too few numbers."""

_FOLDING = "fold-constants,fold-batch-norm"
# A layer stays in floats if that alone takes away so much of what rounding does to the results,
# and rounding moves them by more than this.
_SHARE = 0.5
_WORTHWHILE = 1e-3


@dataclass(frozen=True, slots=True)
class Setting:
    """How to quantise.

    Attributes:
        weight_bits: of a weight's code, 2 to 8; 1, the sign alone, if they are trained so.
        input_bits: of an activation's code, 2 to 8.
        observer: a name of ``OBSERVERS``, or ``auto`` for the best by validation images.
        bias_correction: on or off; None for the better one.
        floating: layers that stay in floats.
        sensitivity: whether the first and the last layer may stay in floats.
        means: what becomes of the means of fused layers.
        rounded_biases: store biases as codes in steps of the products; else as floats, which
            engines may round so or not.
    """

    weight_bits: int = 8
    input_bits: int = 8
    observer: str = "auto"
    bias_correction: bool | None = None
    floating: tuple[str, ...] = ()
    sensitivity: bool = True
    means: Means = Means.ROUNDED
    rounded_biases: bool = True

    def __post_init__(self) -> None:
        if self.observer not in {"auto", *OBSERVERS}:
            hint = did_you_mean(self.observer, [*OBSERVERS])
            raise InputError(
                f"observer {self.observer!r} is not known{hint} (auto, {', '.join(OBSERVERS)})"
            )
        check_bits(self.weight_bits, "--weight-bits", least=1)
        check_bits(self.input_bits, "--input-bits")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to quantise, and what the validation images say of it.

    Attributes:
        observer: how ranges were found.
        bias_correction: whether biases make up for the mean error of the weights.
        floating: layers that stay in floats.
        divergence: of the results from those in floats, see ``divergence``; None where the way was
            not chosen by it.
        means: what becomes of the means of fused layers; None where there are none.
    """

    observer: str
    bias_correction: bool
    floating: tuple[str, ...]
    divergence: float | None
    means: Means | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A quantised network, and how it came about.

    Attributes:
        model: with ``QuantizeLinear`` and ``DequantizeLinear``.
        chosen: the best candidate.
        tried: all of them.
    """

    model: ir.Model
    chosen: Candidate
    tried: tuple[Candidate, ...] = field(default=())


def folded(model: ir.Model) -> ir.Model:
    """The network with its batch norms in the layers before them: what is quantised."""
    return pipeline.run(model, pipeline.parse(_FOLDING)).model


def divergence(expected: Floats, actual: Floats) -> float:
    """How far results are from those in floats, over all images.

    Args:
        expected: in floats; logits (images, classes), or anything else.
        actual: likewise, quantised.

    Returns:
        The mean Kullback-Leibler divergence of the class probabilities, in nats; of results that
        are no logits, the squared error over the squared results.
    """
    if expected.ndim != 2:
        return float(((actual - expected) ** 2).sum() / max((expected**2).sum(), 1e-30))
    logs = [
        logits.astype(np.float64) - logits.max(1, keepdims=True) for logits in (expected, actual)
    ]
    first, second = (each - np.log(np.exp(each).sum(1, keepdims=True)) for each in logs)
    return float((np.exp(first) * (first - second)).sum(1).mean())


def calibrate(
    model: ir.Model,
    images: Floats,
    validation: Floats,
    setting: Setting = Setting(),
    *,
    progress: Progress | None = None,
) -> Calibrated:
    """Quantise a trained network.

    Args:
        model: the network, of one input; it is not changed.
        images: for calibration, as the network takes them.
        validation: others, by which the best way is chosen; no labels are needed.
        setting: how.
        progress: told how the work goes on.

    Raises:
        InputError: too few images, no layer that can be quantised, a layer that is not there, or
            weights of 1 bit.
    """
    if setting.weight_bits == 1:
        raise InputError("--weight-bits 1: signs alone have to be trained; give --finetune EPOCHS")
    for given, what in ((images, "calibration"), (validation, "validation")):
        if len(given) < LEAST_IMAGES:
            raise InputError(
                f"{len(given)} images for {what}, at least {LEAST_IMAGES} are needed; give more "
                "images"
            )
    search = _Search(folded(model), images, validation, setting, progress or _silent)
    return search.run()


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


class _Search:
    """Tries ways to quantise a network; each part of the work is done once."""

    def __init__(
        self, model: ir.Model, images: Floats, validation: Floats, setting: Setting, tell: Progress
    ) -> None:
        self._model, self._images, self._validation = model, images, validation
        self._setting, self._tell = setting, tell
        self._joined = setting.input_bits == WHOLE_BITS
        self._whole = place(model, means=setting.means, joined=self._joined)
        self._means = setting.means if fused_means(model) else None
        _check_floating(self._whole, setting.floating)
        self._seen = observe(model, self._whole, images, tell)
        self._corrections: dict[str, Floats] = {}
        self._expected = outputs_of(model, validation)
        self._tried: list[Candidate] = []

    def run(self) -> Calibrated:
        """The best of all ways."""
        setting = self._setting
        wanted = setting.bias_correction
        first = True if wanted is None else wanted
        names = tuple(OBSERVERS) if setting.observer == "auto" else (setting.observer,)
        ways = [self._try(name, first, setting.floating) for name in names]
        best = min(ways, key=_divergence_of)
        if wanted is None:
            plain = self._try(best.observer, False, setting.floating)
            best = min(best, plain, key=_divergence_of)
        if setting.sensitivity:
            best = self._with_ends(best)
        return Calibrated(self._quantised(best), best, tuple(self._tried))

    def _try(self, observer: str, corrected: bool, floating: tuple[str, ...]) -> Candidate:
        self._tell("choose", len(self._tried), 0)
        candidate = Candidate(observer, corrected, floating, None, self._means)
        found = outputs_of(self._quantised(candidate), self._validation)
        candidate = replace(candidate, divergence=divergence(self._expected, found))
        self._tried.append(candidate)
        return candidate

    def _with_ends(self, best: Candidate) -> Candidate:
        """Leave the first or the last layer in floats, if that is what the results depend on."""
        least = max(_SHARE * _divergence_of(best), _WORTHWHILE)
        for name in dict.fromkeys((self._whole.layers[0].name, self._whole.layers[-1].name)):
            if name in best.floating or len(self._whole.layers) == 1:
                continue
            tried = self._try(best.observer, best.bias_correction, (*best.floating, name))
            if _divergence_of(best) - _divergence_of(tried) >= least:
                best = tried
        return best

    def _quantised(self, candidate: Candidate) -> ir.Model:
        setting = self._setting
        placement = place(
            self._model, frozenset(candidate.floating), setting.means, joined=self._joined
        )
        observer = OBSERVERS[candidate.observer]
        grids = {
            name: Grid.over(*observer(self._seen[name], setting.input_bits), setting.input_bits)
            for name in placement.values
        }
        codes = self._codes(placement.layers, corrected=candidate.bias_correction)
        return write(
            self._model,
            grids,
            codes,
            rounded_biases=setting.rounded_biases,
            only_for=None if self._joined else codes,
        )

    def _codes(self, layers: Sequence[Layer], *, corrected: bool) -> Mapping[str, LayerCodes]:
        bits = self._setting.weight_bits
        found = {key_of(layer): layer_codes(layer, bits) for layer in layers}
        if not corrected:
            return found
        if not self._corrections:
            self._corrections = bias_corrections(self._model, self._whole, bits, self._images)
        return {
            key: replace(codes, bias=less(codes, self._corrections.get(key)))
            for key, codes in found.items()
        }


def _divergence_of(candidate: Candidate) -> float:
    return np.inf if candidate.divergence is None else candidate.divergence


def key_of(layer: Layer) -> str:
    return layer.node.outputs[0].name or ""


def _check_floating(placement: Placement, floating: Sequence[str]) -> None:
    names = [layer.name for layer in placement.layers]
    if not names:
        raise InputError(
            "nothing to quantise: the network has no convolution or dense layer of constant weights"
        )
    for name in floating:
        if name not in names:
            hint = did_you_mean(name, names)
            raise InputError(f"--float {name}: the network has no such layer to quantise{hint}")


def layer_codes(layer: Layer, bits: int) -> LayerCodes:
    """The weights of a layer as codes, its bias as it is."""
    ordered = np.moveaxis(layer.weight, layer.axis, 0)
    steps = symmetric_steps(ordered, bits)
    codes = np.moveaxis(symmetric_codes(ordered, steps, bits), 0, layer.axis)
    return LayerCodes(
        np.ascontiguousarray(codes), steps, layer.axis, layer.bias, layer.index, layer.adds_chosen
    )


def bias_corrections(
    model: ir.Model, placement: Placement, bits: int, images: Floats
) -> dict[str, Floats]:
    """By how much the mean output of each layer is off because its weights are rounded."""
    changed: list[tuple[Layer, Floats]] = []
    for layer in placement.layers:
        if not has_bias(layer) or layer.index > 1:
            continue
        weight = layer.weight
        made = layer_codes(layer, bits)
        shape = [-1 if axis == layer.axis else 1 for axis in range(weight.ndim)]
        changed.append((layer, made.codes * made.steps.reshape(shape) - weight))
    means = mean_outputs(model, changed, images)
    return {key_of(layer): mean for (layer, _), mean in zip(changed, means, strict=True)}


def less(codes: LayerCodes, correction: Floats | None) -> Floats | None:
    if correction is None:
        return codes.bias
    return (0 if codes.bias is None else codes.bias) - correction
