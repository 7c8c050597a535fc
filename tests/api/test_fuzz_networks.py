"""Random networks at every opset: rewritten, they compute what ONNX Runtime says of the original.

A failure names its seeds; ``faults(417)`` repeats one alone.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from api.random_layers import Array
from api.random_networks import RandomNetwork, Results, accepted, random_network, run

import mlcnn
from mlcnn.api import RewriteOptions, rewrite
from mlcnn.errors import MlcnnError, PassError
from mlcnn.graph import evaluate, inline, to_proto
from mlcnn.ops import forms

CHUNK = 25
SHORT, LONG = range(0, 100, CHUNK), range(100, 2100, CHUNK)
TOLERANCE = {"float32": 1e-5, "float16": 5e-3, "float64": 1e-12}
"""Of the largest value of an output."""
LOOSEST = 20
"""A network that amplifies rounding may differ by as many times more, if its own error does."""

Road = Callable[[], str | None]
"""Does something with a network and says what is wrong with the result."""


def in_double(model: ir.Model, inputs: Mapping[str, Array]) -> Results:
    """What torch computes in double precision; strings are left out."""
    tensors = {name: torch.from_numpy(np.asarray(array)) for name, array in inputs.items()}
    names = [v.name or "" for v in model.graph.outputs if v.dtype != ir.DataType.STRING]
    return {key: value.numpy() for key, value in evaluate(model, tensors, outputs=names).items()}


def differences(expected: Results, actual: Results) -> Iterator[tuple[str, float]]:
    """Largest difference per output, relative to its largest value; infinite for another shape."""
    for name, right in expected.items():
        result = actual.get(name)
        if result is None or result.shape != right.shape:
            yield f"{name}: shape {None if result is None else result.shape}", float("inf")
        elif right.dtype == object:
            yield name, 0.0 if (result == right).all() else float("inf")
        elif right.size:
            exact, other = right.astype(np.float64), result.astype(np.float64)
            largest = float(np.abs(exact).max()) or 1.0
            error = float(np.abs(other - exact).max()) / largest
            yield name, error if np.isfinite(error) else float("inf")


@dataclass(frozen=True)
class Case:
    """A network with what it computes.

    Attributes:
        network: the network.
        inputs: what it is run on.
        expected: what ONNX Runtime computes.
        double: what the network computes in double precision.
    """

    network: RandomNetwork
    inputs: dict[str, Array]
    expected: Results
    double: Callable[[], Results]

    @property
    def element(self) -> str:
        return next(item for item in self.network.traits if item in TOLERANCE)

    def compare(self, model: ir.Model) -> str | None:
        """What differs between ``model`` and the network; None if nothing does."""
        if self.element == "float64":
            return self.judge(in_double(model, self.inputs))
        return self.judge(run(to_proto(inline(model)), self.inputs))

    def judge(self, actual: Results) -> str | None:
        """What differs between results and those of the network.

        Where the network's own results are far from those in double precision (differences of
        nearly equal numbers, small divisors), the rewritten one may be as far again.
        """
        tolerance = TOLERANCE[self.element]
        for name, error in differences(self.expected, actual):
            if error <= tolerance:
                continue
            if error <= LOOSEST * tolerance:
                own = dict(differences(self.double(), self.expected)).get(name, 0.0)
                if error <= tolerance + 4 * own:
                    continue
            return f"{name} differs by {error:.1e}"
        return None


def case_of(seed: int) -> Case | None:
    """The case of a seed; None if ONNX Runtime refuses its network."""
    network = random_network(seed)
    if "float64" not in network.traits:
        expected = accepted(network.proto, network.inputs)
    else:
        # ONNX Runtime has no double convolutions: the same network in single precision is asked.
        twin = random_network(seed, dtype=np.float32)
        expected = accepted(twin.proto, twin.inputs)
    if expected is None:
        return None

    def double() -> Results:
        return in_double(mlcnn.load(network.proto), network.inputs)

    case = Case(network, network.inputs, expected, double)
    if "float64" in network.traits:
        single = {name: array for name, array in expected.items() if array.dtype != object}
        exact = double()
        assert max((e for _, e in differences(single, exact)), default=0) < 1e-4, "evaluate"
        case = replace(case, expected=exact)
    return case


def guarded(stage: str, action: Road, *, may_refuse: bool = False) -> str:
    """What is wrong with ``action``: a difference or an error; empty if nothing is."""
    try:
        found = action()
    except MlcnnError as error:
        if may_refuse and not isinstance(error, PassError):
            return ""
        found = f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 (a fault, whatever it is)
        found = f"{type(error).__name__}: {error}"
    return f"{stage}: {found}" if found else ""


def other_batches(case: Case, model: ir.Model) -> str | None:
    """A network of dynamic batch on other batches, an empty one too."""
    if case.element == "float64":
        return None
    shapes = {name: array.shape[1:] for name, array in case.expected.items()}
    for size in (0, 4):
        inputs = {
            name: np.resize(array, (size, *array.shape[1:]))
            if name in case.network.images
            else array
            for name, array in case.inputs.items()
        }
        expected = accepted(case.network.proto, inputs)
        # At batch 0, ONNX Runtime's ReduceMean returns the shape of its input.
        if expected is not None and {k: a.shape[1:] for k, a in expected.items()} == shapes:
            found = replace(case, inputs=inputs, expected=expected).compare(model)
            if found is not None:
                return f"batch {size}: {found}"
    return None


def is_checked(proto: onnx.ModelProto) -> bool:
    """Whether ONNX's checker takes a network: it wants more than ONNX Runtime does."""
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError:
        return False
    return True


def again(case: Case, optimized: mlcnn.Optimized, folder: Path) -> str | None:
    """Saved, checked, run from the file, and loaded again."""
    path = folder / "network.onnx"
    optimized.save(path)
    proto = onnx.load(path)
    if is_checked(case.network.proto):  # an output that is an input may have no shape
        onnx.checker.check_model(proto)
    found = None if case.element == "float64" else case.judge(run(proto, case.inputs))
    return found or case.compare(mlcnn.load(path))


def replayed(case: Case, optimized: mlcnn.Optimized) -> str | None:
    """The pipeline with the forms that were chosen, from its text."""
    second = rewrite(optimized.original, optimized.pipeline)
    if [change.nodes for change in second.changes] != [c.nodes for c in optimized.changes]:
        return f"{optimized.pipeline} changes other nodes when it is repeated"
    return case.compare(second.model)


def trained(case: Case, optimized: mlcnn.Optimized) -> str | None:
    """As a torch module; torch has no half-precision pools over three dimensions."""
    module = optimized.module().eval()
    tensors = [torch.from_numpy(np.asarray(array)) for array in case.inputs.values()]
    if case.element == "float16":
        if "cast" in case.network.traits:
            return None
        module = module.float()
        tensors = [item.float() if item.is_floating_point() else item for item in tensors]
    with torch.no_grad():
        results = module(*tensors)
    outputs = results if isinstance(results, tuple | list) else (results,)
    found = {name: item.numpy() for name, item in zip(case.expected, outputs, strict=True)}
    return case.judge(found)


def approximate(case: Case, loaded: ir.Model) -> str | None:
    """The approximate passes change values, not shapes."""
    optimized = rewrite(loaded, "mlcnn")
    if case.element == "float64":
        actual = in_double(optimized.model, case.inputs)
    else:
        actual = run(to_proto(inline(optimized.model)), case.inputs)
    shapes = {name: array.shape for name, array in case.expected.items()}
    found = {name: array.shape for name, array in actual.items()}
    return None if found == shapes else f"shapes {found} instead of {shapes}"


def roads(case: Case, optimized: mlcnn.Optimized, folder: Path) -> Iterator[tuple[str, Road]]:
    """All that is done with a network beside the default, in the order of their names' shares."""
    loaded = optimized.original
    for form in forms():
        options = RewriteOptions(form=form)
        yield (
            f"form {form}",
            lambda options=options: case.compare(rewrite(loaded, "exact", options).model),
        )
    if case.network.dynamic:
        form = RewriteOptions(form="matvec")
        yield "batch", lambda: other_batches(case, optimized.model)
        yield "batch", lambda: other_batches(case, rewrite(loaded, "exact", form).model)
    yield "again", lambda: again(case, optimized, folder)
    yield "replayed", lambda: replayed(case, optimized)
    yield "approximate", lambda: approximate(case, loaded)
    yield "count", lambda: mlcnn.count(case.network.proto) and None
    yield "module", lambda: trained(case, optimized)


def faults(seed: int, folder: Path, *, thorough: bool = True) -> list[str] | None:
    """What is wrong with the network of a seed; None if ONNX Runtime refuses it.

    Args:
        seed: of the network.
        folder: for a file.
        thorough: every form and every road, and not a third of them by the seed.
    """
    case = case_of(seed)
    if case is None:
        return None
    made: list[mlcnn.Optimized] = []

    def default() -> str | None:
        made.append(mlcnn.optimize(case.network.proto))
        return case.compare(made[0].model)

    found = [guarded("default", default)]
    for index, (name, road) in enumerate(roads(case, made[0], folder) if made else ()):
        if thorough or index % 3 == seed % 3:
            found.append(guarded(name, road, may_refuse=name in {"count", "module"}))
    return list(filter(None, found))


def fuzz(seeds: range, folder: Path, *, thorough: bool) -> None:
    refused, report = 0, []
    for seed in seeds:
        found = faults(seed, folder, thorough=thorough)
        refused += found is None
        if found:
            report.append(f"seed {seed} ({', '.join(random_network(seed).traits)}): {found}")
    assert not report, "\n".join(report)
    assert refused < 0.2 * len(seeds), "the generator makes too many networks that nothing runs"


@pytest.mark.parametrize("first", SHORT)
def test_rewritten_networks_compute_the_same(first: int, tmp_path: Path) -> None:
    fuzz(range(first, first + CHUNK), tmp_path, thorough=False)


@pytest.mark.long
@pytest.mark.parametrize("first", LONG)
def test_many_rewritten_networks_compute_the_same(first: int, tmp_path: Path) -> None:
    fuzz(range(first, first + CHUNK), tmp_path, thorough=True)
