"""Forms of fused sites chosen by measured time, on the engine that will run them."""

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from mlcnn.engines.arrays import fix_shapes, fixed_shapes, random_inputs
from mlcnn.engines.engine import Device, device_of, positive_threads
from mlcnn.engines.registry import get
from mlcnn.engines.timing import Timing, interleave, ratio
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph import clone
from mlcnn.passes import KEEP, STRUCTURE_KEY, Choice, CostModel
from mlcnn.workload import ConvLayer

__all__ = ["MeasuredChooser", "in_context"]

Candidates = Mapping[str, Callable[[], ir.Model]]

_IMAGE_CHANNELS = 4
_FEATURES = 2  # dimensions of what a dense layer reads: no layout that an engine could change
_MARGIN = 1.03  # a form must be faster by more than the noise and by more than this
_TIE = 1.02
_FINALIST = 1.3
_ROUNDS = 9  # the fewest with which one outlier does not decide the 95 % interval
_INNER_CACHE_BYTES = 2**20
_OUTER_CACHE_BYTES = 2**26  # more would only take longer to read


def _pointwise(
    model: ir.Model, source: ir.Value, result: ir.Value, shape: tuple[int, int], name: str
) -> ir.Node:
    """A 1x1 convolution with constant weights of ``shape`` (outputs, inputs)."""
    dtype = result.dtype or source.dtype or ir.DataType.FLOAT
    array = np.full((*shape, 1, 1), 1 / shape[1], np.float32).astype(dtype.numpy())
    tensor = ir.Tensor(array, dtype=dtype, name=f"{name}.weight")
    weight = ir.Value(
        name=tensor.name, shape=ir.Shape(array.shape), type=ir.TensorType(dtype), const_value=tensor
    )
    model.graph.register_initializer(weight)
    return ir.Node("", "Conv", [source, weight], outputs=[result], name=name)


def _value(name: str, like: ir.Value, channels: int) -> ir.Value:
    sizes = list(like.shape or ())
    sizes[1] = channels
    return ir.Value(name=name, shape=ir.Shape(sizes), type=like.type)


def in_context(site: ir.Model, layer: ConvLayer) -> ir.Model:
    """A copy of a site between two cheap 1x1 convolutions.

    Engines keep images in layouts of their own between convolutions. Alone, a site would pay for
    the change of layout, which inside a network it does not: the unfused form by a factor of up
    to 2.5 (measured). A site at the image has nothing before it, one that pools everything needs
    nothing behind it.

    Args:
        site: one input (N, C, H, W), one output (N, K, P, Q), all sizes fixed.
        layer: its convolution with the pool.
    """
    model = clone(site)
    graph = model.graph
    if layer.C > _IMAGE_CHANNELS:
        source = graph.inputs[0]
        image = _value("context.image", source, _IMAGE_CHANNELS)
        graph.inputs[0] = image
        node = _pointwise(model, image, source, (layer.C, _IMAGE_CHANNELS), "context.before")
        graph.insert_before(graph[0], node)
    if layer.pooled != (1, 1):
        result = graph.outputs[0]
        output = ir.Value(name="context.output", type=result.type)
        graph.outputs[0] = output
        graph.append(
            _pointwise(model, result, output, (_IMAGE_CHANNELS, layer.K), "context.behind")
        )
    return model


def _reader(size: int) -> Callable[[], object] | None:
    """Reads so many bytes, if they matter: not what the inner caches hold beside a site."""
    if size < _INNER_CACHE_BYTES:
        return None
    return np.ones(min(size, _OUTER_CACHE_BYTES) // 4, np.float32).sum


def _medians(timings: Mapping[str, Timing]) -> dict[str, float]:
    return {name: timing.median_ms for name, timing in timings.items()}


@dataclass(frozen=True, slots=True)
class MeasuredChooser:
    """Chooses the form of a site that runs fastest, and the unfused site in case of doubt.

    Sites of the same geometry are measured once. Thread-safe, though measurements disturb each
    other. One thread on the CPU is timed by the processor time of the process, which other
    programs disturb less than the time on the wall.

    Attributes:
        engine: name of the engine.
        batch: images per run.
        threads: threads that the engine may compute with.
        device: where it runs.
        budget_s: seconds of measuring per site; more where single runs take long.
        network_bytes: size of the whole network's weights (``weight_bytes``). Between two runs of
            a site the rest of a large network passes through the caches, and the form that reads
            its weights fastest from the cache need not be the one that does from memory.
        precision: see ``mlcnn.engines.bench``.

    Raises:
        InputError: an unknown engine or device, or a batch or threads below 1.
        UnsupportedError: the engine is not installed.
    """

    engine: str = "onnxruntime"
    batch: int = 1
    threads: int = 1
    device: str = Device.CPU
    budget_s: float = 0.5
    network_bytes: int = 0
    precision: str | None = None
    _known: dict[Hashable, Choice] = field(
        default_factory=dict[Hashable, Choice], init=False, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        get(self.engine)
        device_of(self.device)
        positive_threads(self.threads)
        if self.batch < 1:
            raise InputError(f"batch must be 1 or more, got {self.batch}")

    @property
    def measured_on(self) -> str:
        """The engine that is timed: compiling every candidate of every site takes minutes.

        For ``torch-compile`` it is one that computes alike: on VGG-16 the forms that ONNX Runtime
        prefers are as fast there as OpenVINO's and faster than those of eager torch.
        """
        if self.engine != "torch-compile":
            return self.engine
        return "onnxruntime" if self.device == Device.CPU else "torch"

    def choose(self, layer: ConvLayer | None, candidates: Candidates) -> Choice:
        """Choose among ``candidates``; see ``mlcnn.passes.Chooser``.

        Falls back on the cost model where height or width are dynamic, or where the engine runs
        fewer than two of the candidates.
        """
        if layer is None or len(candidates) < 2:
            return CostModel().choose(layer, candidates)
        keep = candidates[KEEP]()
        operators = tuple(node.op_type for node in keep.graph)
        dtype = keep.graph.inputs[0].dtype
        structure = keep.metadata_props.get(STRUCTURE_KEY)
        # What stays of a layer that may get a structure is dense, what stays of one that has it is
        # not: one verdict holds for both. Other layers may differ in how many weights they have.
        kept: tuple[Hashable, ...] = (
            (operators, *(str(value.shape) for value in keep.graph.initializers.values()))
            if structure is None
            else (operators[1:], structure)
        )
        key = (replace(layer, name="", N=1), frozenset(candidates), kept, dtype)
        if key not in self._known:
            plain = "unfused site" if structure is None else "dense layer"
            self._known[key] = self._measure(layer, candidates, plain)
        return self._known[key]

    def site_ms(self, layer: ConvLayer, sites: Mapping[str, ir.Model]) -> dict[str, float]:
        """Times of one layer in several forms, measured in turn as ``choose`` measures.

        Args:
            layer: its geometry.
            sites: small networks with the same one input and one output.

        Returns:
            Medians in ms by name. The convolutions around a site (``in_context``) are part of each,
            so that differences are those of the layer.

        Raises:
            UnsupportedError: the engine does not run one of them.
        """
        runners = {name: self._runner(layer, site) for name, site in sites.items()}
        return _medians(self._interleave(runners, 1, _ROUNDS))

    def network_ms(self, models: Mapping[str, ir.Model]) -> dict[str, float]:
        """The same of whole networks, whose own weights pass through the caches."""
        runners = {
            name: self._session(fix_shapes(model, fixed_shapes(model, self.batch)))
            for name, model in models.items()
        }
        return _medians(replace(self, network_bytes=0)._interleave(runners, 1, _ROUNDS))

    def _runner(self, layer: ConvLayer, site: ir.Model) -> Callable[[], object]:
        source = site.graph.inputs[0]
        images = source.shape is None or len(source.shape) != _FEATURES
        sizes = (layer.C, layer.H, layer.W) if images else (layer.C,)
        model = fix_shapes(site, {source.name or "": (self.batch, *sizes)})
        if images:
            model = in_context(model, layer)
        return self._session(model)

    def _session(self, model: ir.Model) -> Callable[[], object]:
        session = get(self.measured_on, self.precision).prepare(
            model, threads=self.threads, device=self.device
        )
        return session.runner(random_inputs(model, self.batch))

    def _measure(self, layer: ConvLayer, candidates: Candidates, plain: str) -> Choice:
        runners: dict[str, Callable[[], object]] = {}
        for form, build in candidates.items():
            try:
                runners[form] = self._runner(layer, build())
            except UnsupportedError as error:
                if form == KEEP:
                    choice = CostModel().choose(layer, candidates)
                    return replace(choice, reason=f"{choice.reason} ({error})")
        if len(runners) < 2:
            return Choice(KEEP, f"{self.measured_on} runs no fused form of this site")
        first = self._interleave(runners, 0.3, 2)
        best = min(timing.median_ms for timing in first.values())
        finalists = {
            form: runner
            for form, runner in runners.items()
            if form == KEEP or first[form].median_ms <= _FINALIST * best
        }
        if len(finalists) < 2:
            return self._verdict(first, plain)
        return self._verdict(self._interleave(finalists, 0.7, _ROUNDS), plain)

    def _interleave(
        self, runners: Mapping[str, Callable[[], object]], share: float, min_rounds: int
    ) -> dict[str, Timing]:
        alone = self.threads == 1 and self.device == Device.CPU
        clock = time.process_time_ns if alone else time.perf_counter_ns
        return interleave(
            runners,
            budget_s=share * self.budget_s,
            min_rounds=min_rounds,
            clock=clock,
            between=_reader(self.network_bytes),
        )

    def _verdict(self, timings: Mapping[str, Timing], plain: str) -> Choice:
        fused = {form: timing.median_ms for form, timing in timings.items() if form != KEEP}
        best = min(fused.values())
        form = next(form for form, median_ms in fused.items() if median_ms <= _TIE * best)
        found = ratio(timings[KEEP], timings[form])
        figures = (
            f"{found.value:.2f}x the speed of the {plain} ({found.low:.2f} to {found.high:.2f}) "
            f"in {self.measured_on} at batch {self.batch}"
        )
        if found.low <= _MARGIN:
            return Choice(KEEP, f"the fastest form, {form}, runs at {figures}")
        return Choice(form, f"measured {figures}")
