"""A network in the engine that runs it best, rewritten by the exact passes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import onnx_ir as ir
import torch
from torch import Tensor

from mlcnn import engines
from mlcnn.api.optimizing import rewrite
from mlcnn.engines import MeasuredChooser
from mlcnn.engines.tensors import OnTensors, array_of
from mlcnn.errors import InputError, UnsupportedError, did_you_mean

__all__ = ["CompileOptions", "InEngine", "in_engine"]

AUTO, MEASURED = "auto", "measured"
_ALIKE = 1e-3  # of the largest output: float32 in another order of summing
# By which of them takes the network, in this order: the order of their speed on networks of the
# public zoo. Torch's own engines are what the module ran in before.
_ORDER = ("native", "openvino", "onnxruntime")


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """How a module is compiled.

    Attributes:
        engine: name of an engine; ``auto``: the first of ``native``, ``openvino`` and
            ``onnxruntime`` that is installed and takes the network; ``measured``: the fastest of
            those that do.
        threads: that an engine may compute with; by default as many as torch.
        check: check each rewrite in float64, and the whole network in ONNX Runtime.

    Raises:
        InputError: an engine that there is not, or fewer than one thread.
    """

    engine: str = AUTO
    threads: int | None = None
    check: bool = True

    def __post_init__(self) -> None:
        name = self.engine.partition(":")[0]
        known = (AUTO, MEASURED, *engines.names())
        if name not in known:
            raise InputError(
                f"engine={self.engine!r}: there is none{did_you_mean(name, known)} (known: "
                f"{', '.join(known)})"
            )
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads must be 1 or more, got {self.threads}")

    @classmethod
    def of(cls, given: Mapping[str, object]) -> "CompileOptions":
        """Options by their names, as ``torch.compile(options=...)`` has them.

        Raises:
            InputError: an option that there is not, or of a wrong type.
        """
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise InputError(
                    f"option {name!r}: backend 'mlcnn' has none of this name"
                    f"{did_you_mean(name, known)} (it has {', '.join(known)})"
                )
        kinds = {"engine": str, "threads": int, "check": bool}
        for name, value in given.items():
            kind = kinds[name]
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise InputError(
                    f"option {name}={value!r}: {kind.__name__} is required, got "
                    f"{type(value).__name__}"
                )
        return cls(**given)  # pyright: ignore[reportArgumentType] - checked above

    @property
    def wanted(self) -> tuple[str, ...]:
        """The engines that are tried, in their order."""
        if self.engine in {AUTO, MEASURED}:
            return tuple(name for name in _ORDER if name in engines.available())
        return (self.engine,)


@dataclass(frozen=True, slots=True, eq=False)
class InEngine:
    """A network in its engine.

    Attributes:
        model: as it was rewritten.
        engine: name of the engine.
        threads: that it computes with.
        declined: why engines that would have come first do not run it, each in one line.
        run: takes its inputs in order and gives its outputs.
    """

    model: ir.Model
    engine: str
    threads: int
    declined: tuple[str, ...]
    run: OnTensors

    @classmethod
    def of(
        cls, model: ir.Model, engine: str, threads: int, declined: Sequence[str] = ()
    ) -> "InEngine":
        """A network that was rewritten before, in the engine of that name."""
        session = engines.get(engine).prepare(model, threads=threads)
        return cls(model, engine, threads, tuple(declined), OnTensors(session, model))

    def takes(self, tensors: Sequence[Tensor]) -> bool:
        """Whether it is a network for inputs of these shapes and types."""
        wanted = engines.signatures(self.model)
        return len(wanted) == len(tensors) and all(
            signature.shape is not None
            and len(signature.shape) == tensor.ndim
            and signature.dtype == array_of(torch.empty(0, dtype=tensor.dtype)).dtype
            and all(
                not isinstance(size, int) or size == given
                for size, given in zip(signature.shape, tensor.shape, strict=True)
            )
            for signature, tensor in zip(wanted, tensors, strict=True)
        )


def in_engine(
    model: ir.Model,
    example: Sequence[Tensor],
    expected: Sequence[Tensor],
    options: CompileOptions,
) -> InEngine:
    """Rewrite a network by the exact passes, for the engine that will run it.

    Args:
        model: the network, as it was loaded.
        example: its inputs; forms are chosen for their shapes.
        expected: its outputs for these, which an engine must give.
        options: see ``CompileOptions``.

    Raises:
        UnsupportedError: no engine that may be taken runs the network; the message has all reasons.
    """
    threads = options.threads or torch.get_num_threads()
    found: list[InEngine] = []
    declined: list[str] = []
    for name in options.wanted:
        try:
            rewritten = _rewritten(model, name, threads, example, check=options.check)
            made = InEngine.of(rewritten, name, threads, declined)
            _require_alike(expected, made.run(example), f"engine {name!r}")
        except UnsupportedError as error:
            declined.append(str(error))
            continue
        found.append(made)
        if options.engine != MEASURED:
            break
    if not found:
        raise UnsupportedError(f"no engine runs the network ({'; '.join(declined)})")
    return found[0] if len(found) == 1 else _fastest(found, example)


def _rewritten(
    model: ir.Model, engine: str, threads: int, example: Sequence[Tensor], *, check: bool
) -> ir.Model:
    """The network in the forms that are fastest in this engine."""
    engines.get(engine).prepare(model, threads=threads)  # what it lacks is told before the work
    batch = example[0].shape[0] if example[0].ndim else 1
    size = engines.weight_bytes(model)
    chooser = MeasuredChooser(engine, max(1, batch), threads, network_bytes=size)
    return rewrite(model, "exact", check=check, chooser=chooser).model


def _fastest(found: Sequence[InEngine], example: Sequence[Tensor]) -> InEngine:
    alone = all(one.threads == 1 for one in found)
    timings = engines.interleave(
        {one.engine: lambda one=one: one.run(example) for one in found},
        clock=time.process_time_ns if alone else time.perf_counter_ns,
    )
    return min(found, key=lambda one: timings[one.engine].median_ms)


def _require_alike(expected: Sequence[Tensor], found: Sequence[Tensor], what: str) -> None:
    """Require that a network gives what the module does.

    Args:
        expected: outputs of the module.
        found: of the network, on the same inputs.
        what: the network, for the message.

    Raises:
        UnsupportedError: they differ, by more than rounding explains.
    """
    if len(expected) != len(found):
        raise UnsupportedError(f"{what} gives {len(found)} outputs, the module {len(expected)}")
    error = max(map(_difference, expected, found), default=0.0)
    if error > _ALIKE:
        raise UnsupportedError(
            f"{what} differs from the module by {error:.2g} of the largest output on the example "
            "input"
        )


def _difference(expected: Tensor, found: Tensor) -> float:
    """Of floats, as a share of the largest; infinite for other shapes, types, or other integers."""
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return float("inf")
    if not expected.is_floating_point():
        return 0.0 if bool((expected == found).all()) else float("inf")
    expected, found = expected.detach().double(), found.double()
    finite = expected.isfinite()
    if not bool((finite == found.isfinite()).all()):
        return float("inf")
    if not bool(finite.any()):
        return 0.0
    largest = float(expected[finite].abs().max())
    return float((expected - found)[finite].abs().max()) / (largest or 1.0)
