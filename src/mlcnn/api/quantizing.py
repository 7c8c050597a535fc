"""Quantise a trained network, and say what it costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn import engines, graph, training
from mlcnn.api.benchmarking import MeasureOptions, bench
from mlcnn.api.engine_accuracy import EngineAccuracy, engine_accuracies
from mlcnn.api.evaluation import Fused
from mlcnn.api.loading import Rewritten, Source, load
from mlcnn.api.optimizing import Progress, default_passes, rewrite, silent, tuned_weights
from mlcnn.api.options import NO_REWRITE, RewriteOptions
from mlcnn.api.quantized_training import TuneOptions, tune
from mlcnn.api.training import ImageOptions, require_static
from mlcnn.errors import InputError
from mlcnn.ops import method_of
from mlcnn.passes import KEEP, Choice, CostModel
from mlcnn.table import Shown, Tabular
from mlcnn.training import quantisation
from mlcnn.training.quantisation import Candidate, Means, Setting
from mlcnn.workload import ConvLayer

__all__ = ["QuantizeOptions", "Quantized", "quantize", "quantized"]

_ENGINES = ("onnxruntime", "openvino", "native")
_VALIDATION_SHARE = 0.08
_OF_MEANS = {
    Means.ROUNDED: "means of fused layers are rounded to 8-bit codes, which every engine computes "
    "in integers; --means exact leaves them as sums, exact in engine native only",
    Means.EXACT: "means of fused layers are sums of codes: exact 16-bit integers in engine native, "
    "floats in the others",
}


@dataclass(frozen=True, slots=True)
class QuantizeOptions:
    """How to quantise.

    Attributes:
        setting: bits, observer and corrections.
        tuning: fine-tune the network with its rounding; None to calibrate it only.
        fuse: rewrite the network first, so that fused layers are quantised.
        engines: where accuracy is measured; those that are installed by default.
        measuring: latency before and after on these terms; None for none.
        calibration: images that ranges come from.
        validation: images that the best way is chosen by.
        test: images that accuracy is measured on; all by default.
        threads: of an engine while accuracy is measured.
    """

    setting: Setting = field(default_factory=Setting)
    tuning: TuneOptions | None = None
    fuse: bool = False
    engines: tuple[str, ...] = ()
    measuring: MeasureOptions | None = None
    calibration: int = 512
    validation: int = 1024
    test: int | None = None
    threads: int = 1


@dataclass(frozen=True, slots=True, repr=False)
class Quantized(Rewritten, Tabular):
    """A quantised network, how it came about, and what it costs.

    Attributes:
        original: the network as it was loaded.
        before: what was quantised, in floats: the original, or what the passes made of it.
        model: the quantised one.
        pipeline: what was done, as text.
        chosen: how ranges were found.
        tried: all ways that were tried on the validation images.
        accuracies: a row for each engine.
        latencies: milliseconds by engine, before and after.
        notes: what the reader should know.
    """

    original: ir.Model
    before: ir.Model
    model: ir.Model
    pipeline: str
    chosen: Candidate
    tried: tuple[Candidate, ...]
    accuracies: tuple[EngineAccuracy, ...]
    latencies: Mapping[str, Mapping[str, float]]
    notes: tuple[str, ...]

    @property
    def agreement(self) -> float | None:
        """Share of the test images where the first engine says what the network in training said.

        None where it was not trained with its rounding.
        """
        return self.accuracies[0].agreement if self.accuracies else None

    def save(self, path: "str | PathLike[str]") -> None:
        """Write the quantised network to an ``.onnx`` file, in standard operators only.

        Raises:
            InputError: the file cannot be written.
        """
        graph.save(self.model, Path(path))

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the quantised network in ONNX Runtime.

        Args:
            inputs: an array for each input, by name.
        """
        return engines.get("onnxruntime").prepare(self.model).run(dict(inputs))

    def records(self) -> list[dict[str, Any]]:
        """A row for each engine."""
        return [{"engine": row.engine, **row.to_json()} for row in self.accuracies]

    def shown(self) -> Shown:
        """Accuracy before and after, engine by engine."""
        agreement = () if self.agreement is None else (_agreed(self.accuracies),)
        rows = tuple(
            (
                row.engine,
                _percent(row.before.top1),
                _percent(row.after.top1),
                " to ".join(_percent(end) for end in row.after.interval),
                f"{row.drop:.2f}",
                " to ".join(f"{end:.2f}" for end in row.drop_interval),
                _percent(row.same_class),
                _percent(row.same_as_first),
            )
            for row in self.accuracies
        )
        images = self.accuracies[0].after.images if self.accuracies else 0
        columns = ("engine", "before, %", "after, %", "95 % interval", "drop, points",
                   "95 % interval", "same class, %", "as first engine, %")  # fmt: skip
        title = f"{self.original.graph.name or 'network'}: accuracy on {images} test images"
        return Shown(title, columns, rows, (self.pipeline, *agreement, *self.notes))

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn quantize --json`` prints, apart from the output's path."""
        first = self.accuracies[0] if self.accuracies else None
        accuracy = None if first is None else {**first.to_json(), "images": first.after.images}
        return {
            "pipeline": self.pipeline,
            "accuracy": accuracy,
            "engines": {row.engine: row.to_json() for row in self.accuracies},
            "cost": {
                "bytes": {"before": _bytes(self.before), "after": _bytes(self.model)},
                "latency_ms": dict(self.latencies),
            },
            "observer": self.chosen.observer,
            "bias_correction": self.chosen.bias_correction,
            "float_layers": list(self.chosen.floating),
            "means": None if self.chosen.means is None else str(self.chosen.means),
            "tried": [
                {
                    "observer": way.observer,
                    "bias_correction": way.bias_correction,
                    "float_layers": list(way.floating),
                    "divergence": way.divergence,
                }
                for way in self.tried
            ],
            "agreement": self.agreement,
            "notes": list(self.notes),
        }


def _agreed(rows: Sequence[EngineAccuracy]) -> str:
    shares = (f"{row.engine} {_percent(row.agreement or 0.0)}" for row in rows)
    return f"the same class as while it was trained, % of the images: {', '.join(shares)}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _bytes(model: ir.Model) -> int:
    tensors = (value.const_value for value in model.graph.initializers.values())
    return sum(graph.tensor_bytes(tensor) for tensor in tensors if tensor is not None)


def quantize(
    source: Source,
    data: "training.Data | str | PathLike[str]",
    options: QuantizeOptions | None = None,
    *,
    images: ImageOptions | None = None,
    rewriting: RewriteOptions = NO_REWRITE,
    input_shape: Sequence[int] | None = None,
    weights: "str | PathLike[str] | None" = None,
    progress: Progress | None = None,
) -> Quantized:
    """Quantise a trained network after calibration on images, without training.

    Weights become symmetric codes with a step for each filter, activations unsigned codes with one
    step each. Ranges come from calibration images; which observer is best, whether biases are
    corrected, and whether the first or last layer stays in floats is chosen on validation images.
    Test images tell the accuracy, and nothing is chosen on them.

    Args:
        source: see ``load``.
        data: labelled images; see ``training.open_data``.
        options: how to quantise, and what to measure.
        images: which images, and how the network wants them.
        rewriting: which passes run first, if ``options.fuse``.
        input_shape: see ``load``.
        weights: see ``load``.
        progress: told how the work goes on.

    Raises:
        InputError: the source, the images or an option cannot be used.
    """
    chosen, tell = options or QuantizeOptions(), progress or silent
    names = _engines(chosen.engines)
    tell("load", 0, 0)
    found, normal, note = (images or ImageOptions()).open(data, source)
    if chosen.fuse and weights is None:
        weights = tuned_weights(source, rewriting)
    original = load(source, input_shape=input_shape, weights=weights, image_shape=found.image_shape)
    _require_classifier(original, found)
    parts, notes = _parts(found, normal, chosen), ((note,) if note else ())
    before, text = _quantisable(original, source, chosen, rewriting, tell)
    tests, tuned, result = _tests(found, chosen), None, None
    if chosen.tuning is None:
        result = quantisation.calibrate(before, *parts, chosen.setting, progress=tell)
    else:
        tuned = tune(
            before, found, normal, chosen.setting, chosen.tuning,
            calibration=parts[0], tests=tests, progress=tell,
        )  # fmt: skip
        result = quantisation.Calibrated(
            _spelled_out(tuned.model), Candidate("mse", False, (), None)
        )
    rows, reasons = engine_accuracies(
        (before, result.model),
        normal.apply(tests.images),
        tests.labels,
        name=tests.name,
        names=names,
        trained=None if tuned is None else tuned.classes,
        threads=chosen.threads,
        progress=tell,
    )
    notes += tuple(f"{engine}: {reason}" for engine, reason in reasons.items())
    notes += _told(result) + _left(result.model, trained=tuned is not None)
    return Quantized(
        original=original,
        before=before,
        model=result.model,
        pipeline=f"{text},{_step(chosen, result.chosen)}",
        chosen=result.chosen,
        tried=result.tried,
        accuracies=rows,
        latencies=_latencies(before, result.model, chosen.measuring, tell),
        notes=notes,
    )


def quantized(
    model: ir.Model,
    data: training.Data,
    normal: training.Normal,
    options: QuantizeOptions,
    *,
    original: ir.Model | None = None,
    progress: Progress | None = None,
) -> ir.Model:
    """A network quantised as ``quantize`` does it, and nothing measured: no test image is read.

    Args:
        model: the network, loaded.
        data: images to calibrate, to train and to choose on.
        normal: what the network takes for an image.
        options: how to quantise.
        original: the teacher, where it is trained with its rounding; the network itself for None.
        progress: told how the work goes on.

    Raises:
        InputError: the images or the network cannot be used.
    """
    tell = progress or silent
    _require_classifier(model, data)
    calibration, validation = _parts(data, normal, options)
    before, _ = _quantisable(model, model, options, NO_REWRITE, tell)
    if options.tuning is None:
        found = quantisation.calibrate(
            before, calibration, validation, options.setting, progress=tell
        )
        return found.model
    tuned = tune(
        before, data, normal, options.setting, options.tuning,
        calibration=calibration, tests=data.validation.first(1), original=original, progress=tell,
    )  # fmt: skip
    return _spelled_out(tuned.model)


def _quantisable(
    original: ir.Model, source: Source, chosen: QuantizeOptions, rewriting: RewriteOptions,
    tell: Progress,
) -> tuple[ir.Model, str]:  # fmt: skip
    """What is quantised, in floats, and the passes that make it of the network."""
    before, text = original, "fold-constants,fold-batch-norm"
    if chosen.tuning is None and _operators(original):
        # Codes take the place of the weights of standard operators. Batch norms go first: in some
        # forms there is no place for them.
        before, spelled = _in_forms(original)
        text = f"{spelled},{text}"
    if chosen.fuse:
        passes = default_passes(source) if rewriting.passes is None else rewriting.passes
        before, text = _fused(original, passes, rewriting, tell)
    if any(map(graph.spreads, before.graph)):
        # Weights that a form lays out or multiplies when it is loaded: there have to be some.
        before = graph.fold_constants(before, spread=True)
    return before, text


def _engines(asked: Sequence[str]) -> tuple[str, ...]:
    available = engines.available()
    if not asked:
        return tuple(name for name in _ENGINES if name in available)
    for name in asked:
        engines.get(name)
    return tuple(asked)


def _require_classifier(model: ir.Model, data: training.Data) -> None:
    require_static(model)
    if len(model.graph.inputs) != 1:
        names = ", ".join(value.name or "" for value in model.graph.inputs)
        raise InputError(
            f"the network has the inputs {names}; networks of one input, images, are quantised"
        )
    given, logits = model.graph.inputs[0].shape, model.graph.outputs[0].shape
    if logits is None or logits.rank() != 2 or given is None or given.rank() != 4:
        raise InputError(
            f"the network takes {given} and gives {logits}: one that takes images (batch, "
            "channels, height, width) and gives logits (batch, classes) is required"
        )
    classes = logits[1]
    if isinstance(classes, int):
        data.require_fit(classes, given.dims[1:], "--data")


def _tests(data: training.Data, options: QuantizeOptions) -> training.ImageSet:
    return data.test if options.test is None else data.test.first(options.test)


def _parts(
    data: training.Data, normal: training.Normal, options: QuantizeOptions
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Calibration and validation images as the network takes them."""
    wanted = max(options.calibration, 1)
    calibration = data.calibration.first(wanted).images
    if len(calibration) < wanted:  # few images: what nobody trains on here is as good
        more = data.training.first(wanted - len(calibration)).images
        calibration = np.concatenate([calibration, more])
    validation = data.validation.first(max(options.validation, 1)).images
    least = quantisation.LEAST_IMAGES
    for part, count, option in (
        (calibration, options.calibration, "--calibration-images"),
        (validation, options.validation, "--validation-images"),
    ):
        if len(part) >= least:
            continue
        if count < least:
            raise InputError(f"{option} {count}: at least {least} are needed")
        raise InputError(
            f"--data {data.name}: {len(part)} images to choose by, at least {least} are needed; "
            f"as {_VALIDATION_SHARE:.0%} of the images serve for this, give at least "
            f"{round(1.25 * least / _VALIDATION_SHARE)} images"
        )
    return normal.apply(calibration), normal.apply(validation)


def _fused(
    model: ir.Model, passes: str, rewriting: RewriteOptions, tell: Progress
) -> tuple[ir.Model, str]:
    """The rewritten network in standard operators, and the passes."""
    optimized = rewrite(model, passes, rewriting, chooser=Fused(), progress=tell)
    return graph.inline(optimized.model), optimized.pipeline


def _step(options: QuantizeOptions, chosen: Candidate) -> str:
    """What quantising did, as the passes are written."""
    parts = {
        "weights": options.setting.weight_bits,
        "inputs": options.setting.input_bits,
        "observer": chosen.observer,
        "bias-correction": "on" if chosen.bias_correction else "off",
    }
    if options.tuning is not None:
        parts["epochs"] = f"{options.tuning.epochs:g}"
    if chosen.floating:
        parts["float"] = "+".join(chosen.floating)
    if chosen.means is not None:
        parts["means"] = str(chosen.means)
    return "quantize{" + ",".join(f"{key}={value}" for key, value in parts.items()) + "}"


def _told(result: quantisation.Calibrated) -> tuple[str, ...]:
    means = result.chosen.means
    return () if means is None else (_OF_MEANS[means],)


class _Lowered:
    """Gives every layer some form, as codes are for standard operators: the one estimated best."""

    def choose(
        self, layer: ConvLayer | None, candidates: Mapping[str, Callable[[], ir.Model]]
    ) -> Choice:
        """See ``Chooser``."""
        choice = CostModel().choose(layer, candidates)
        return Fused().choose(layer, candidates) if choice.form == KEEP else choice


def _operators(model: ir.Model) -> list[str]:
    """Layers whose weights have a structure that an operator of a method computes."""
    return [graph.layer_name(node) for node in model.graph if method_of(node) is not None]


def _in_forms(model: ir.Model) -> tuple[ir.Model, str]:
    """The network with layers of methods in the forms that are estimated best, and the passes."""
    lowered = rewrite(model, "fold-batch-norm,choose", check=False, chooser=_Lowered())
    return graph.inline(lowered.model), lowered.pipeline


def _spelled_out(model: ir.Model) -> ir.Model:
    """The network with those layers of methods in standard operators whose weights are codes."""
    methods = (method_of(node) for node in model.graph)
    coded = any(method is not None and method.coded is not None for method in methods)
    return _in_forms(model)[0] if coded else model


def _left(model: ir.Model, *, trained: bool) -> tuple[str, ...]:
    """Which structured layers have no codes, and why."""
    layers = _operators(model)
    why = (
        "the training rounds standard operators only; without --finetune they become codes"
        if trained
        else "none of the forms of their structure takes them"
    )
    return (f"in floats stay {', '.join(layers)}: {why}",) if layers else ()


def _latencies(
    before: ir.Model, after: ir.Model, measuring: MeasureOptions | None, tell: Progress
) -> dict[str, dict[str, float]]:
    if measuring is None:
        return {}
    found: dict[str, dict[str, float]] = {}
    measured = bench(after, measuring=measuring, against=before, progress=tell)
    names = list(dict.fromkeys(row.variant for row in measured.results))
    for row in measured.results:
        key = "before" if row.variant == names[0] else "after"
        found.setdefault(row.engine, {})[key] = row.median_ms
    return found
