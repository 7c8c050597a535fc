"""Exactness, checked where it can be seen: at the output of every rewritten site, in float64.

At the network's output even an approximate rewrite can hide: weights that are zero, constant or
untrained let any error vanish on the way. So every site is cut out, its weights are replaced by
random ones (pruned, symmetric or constant ones hide errors too), the pass rewrites it again, and
both are run on random inputs. Only a pass that reads what the weights are (it says so by
``reads_weights``) is checked on them as they stand.

A quantised site is compared twice. Once without any rounding: there the rewrite is exact, or wrong.
And once as it is, on inputs that no quantiser of the site cuts off: there it may differ by what
the change says that rounding costs, and by no more.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import torch

from mlcnn.errors import MlcnnError, PassError
from mlcnn.graph import (
    DEQUANTIZE,
    clone,
    evaluate,
    extract,
    is_quantised,
    is_quantiser,
    layer_name,
    read_rounding,
    unrounded,
)
from mlcnn.passes.base import Change, Pass, PassResult, Single

if TYPE_CHECKING:
    from mlcnn.passes.pipeline import PipelineResult

__all__ = ["TOLERANCE", "SiteCheck", "Verification", "check_site", "check_sites", "verify"]

TOLERANCE = 1e-12
"""Largest error allowed at a site in float64, relative to the largest value there."""

DEPLOYED_TOLERANCE = 1e-5
"""Largest error allowed with the weights as they are stored, relative likewise."""

# A rewrite rounds the weights that it makes: eight units in the last place where they are short.
_SHORT_TOLERANCE = {ir.DataType.FLOAT16: 8 * 2.0**-10, ir.DataType.BFLOAT16: 8 * 2.0**-7}

_BATCH = 2
_SPREAD = np.sqrt(3)  # of even values of variance 1: drawn in a quarter of the time of normal ones
_FILLED = 0.9  # of the range of a quantiser, so that rounding before it cuts nothing off either
_LARGEST_CODE = 127
_DYNAMIC_SIZE = 34  # stands for a dynamic height or width


@dataclass(frozen=True, slots=True)
class SiteCheck:
    """The error of one rewritten site.

    Attributes:
        change: the rewrite.
        error: largest difference in float64, divided by the largest value.
        deployed_error: the same with the weights as the rewritten network stores them; in a
            quantised network, what is left when the change's ``deviation`` is taken away.
        deployed_tolerance: the largest such error allowed, by the precision of the weights.
        vacuous: the output is constant, so the check says nothing.
    """

    change: Change
    error: float
    deployed_error: float
    deployed_tolerance: float
    vacuous: bool

    @property
    def failure(self) -> str | None:
        """Why the rewrite must not be used; None if it may be."""
        if self.error <= TOLERANCE and self.deployed_error <= self.deployed_tolerance:
            return None
        change = self.change
        return (
            f"{change.pass_name} is not exact at {change.nodes[0]} "
            f"(form {change.form or 'none'}): error {self.error:.1e} in float64, "
            f"{self.deployed_error:.1e} with stored weights; at most {TOLERANCE:.0e} and "
            f"{self.deployed_tolerance:.0e} are allowed"
        )


@dataclass(frozen=True, slots=True)
class Verification:
    """All checks of one run; approximate changes are not checked."""

    sites: tuple[SiteCheck, ...]

    @property
    def max_error(self) -> float:
        """Largest error over the sites; 0 without sites."""
        return max((site.error for site in self.sites), default=0.0)

    @property
    def max_deployed_error(self) -> float:
        """Largest error with stored weights; 0 without sites."""
        return max((site.deployed_error for site in self.sites), default=0.0)

    @property
    def vacuous(self) -> bool:
        """Whether a check saw a constant output, or no site was checked at all."""
        return not self.sites or any(site.vacuous for site in self.sites)


def _randomised(array: np.ndarray, generator: np.random.Generator, *, positive: bool) -> np.ndarray:
    """Random doubles of the array's shape, positive if asked for; a single value stays."""
    if array.size < 2:
        return array.astype(np.float64)
    if positive:
        return generator.uniform(0.5, 2.0, array.shape)
    spread = _SPREAD / np.sqrt(max(array[0].size, 1))
    return generator.uniform(-spread, spread, array.shape)


def _random_codes(value: ir.Value, generator: np.random.Generator) -> ir.TensorProtocol | None:
    """Random codes in place of those that ``DequantizeLinear`` makes weights of."""
    tensor = value.const_value
    if tensor is None or tensor.dtype.itemsize < 1:
        return tensor
    low, high = (
        (0, 2 * _LARGEST_CODE) if not tensor.dtype.is_signed() else (-_LARGEST_CODE, _LARGEST_CODE)
    )
    array = generator.integers(low, high, tuple(tensor.shape.numpy()), endpoint=True)
    return ir.Tensor(array.astype(tensor.dtype.numpy()), name=value.name)


def _are_codes(value: ir.Value) -> bool:
    return any(is_quantiser(use.node, DEQUANTIZE) and use.idx == 0 for use in value.uses())


def _random_double(
    value: ir.Value, generator: np.random.Generator | None
) -> ir.TensorProtocol | None:
    if value.const_value is None:
        return None
    array = value.const_value.numpy()
    if generator is None:
        return ir.Tensor(array.astype(np.float64), name=value.name)
    variance = any(
        use.node.op_type == "BatchNormalization" and use.idx == 4 for use in value.uses()
    )
    array = _randomised(array, generator, positive=variance or bool(np.all(array > 0)))
    return ir.Tensor(array, name=value.name)


def _double(model: ir.Model, generator: np.random.Generator | None) -> ir.Model:
    """A copy in float64 with random weights; with its own where there is no generator."""
    copy = clone(model)
    for value in (*copy.graph.initializers.values(), *copy.graph.inputs):
        if value.dtype is not None and value.dtype.is_floating_point():
            value.dtype = ir.DataType.DOUBLE
            value.const_value = _random_double(value, generator)
        elif generator is None:
            continue
        elif _are_codes(value):
            value.const_value = _random_codes(value, generator)
    for node in copy.graph:
        for attribute in list(node.attributes.values()):
            if attribute.type is ir.AttributeType.TENSOR:
                tensor = attribute.as_tensor()
                if tensor.dtype.is_floating_point():
                    double = ir.Tensor(tensor.numpy().astype(np.float64), name=tensor.name)
                    node.attributes[attribute.name] = ir.AttrTensor(attribute.name, double)
        for value in node.outputs:
            if value.dtype is not None and value.dtype.is_floating_point():
                value.dtype = ir.DataType.DOUBLE
    return copy


def _channels(value: ir.Value) -> int | None:
    """What the weight of a consumer says about the second dimension of ``value``."""
    for use in value.uses():
        node, weight = use.node, use.node.inputs[1] if len(use.node.inputs) > 1 else None
        if use.idx != 0 or weight is None or weight.const_value is None:
            continue
        if node.op_type == "Gemm":
            transposed = "transB" in node.attributes and node.attributes["transB"].as_int()
            return weight.const_value.numpy().shape[1 if transposed else 0]
        if node.op_type == "Conv":
            groups = node.attributes["group"].as_int() if "group" in node.attributes else 1
            return weight.const_value.numpy().shape[1] * groups
    return None


def _concrete(value: ir.Value, axis: int, dim: int | ir.SymbolicDim) -> int:
    if isinstance(dim, int):
        return dim
    if axis == 0:
        return _BATCH
    return (_channels(value) if axis == 1 else None) or _DYNAMIC_SIZE


def _random_inputs(model: ir.Model, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    result: dict[str, torch.Tensor] = {}
    for value in model.graph.inputs:
        if value.shape is None:
            raise PassError(f"{value.name}: a site's input has no known shape")
        shape = [_concrete(value, axis, dim) for axis, dim in enumerate(value.shape)]
        drawn = torch.empty(shape, dtype=torch.float64)
        result[value.name or ""] = drawn.uniform_(-_SPREAD, _SPREAD, generator=generator)
    return result


def _where_finite(
    result: torch.Tensor, reference: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both where ``reference`` is finite, which is nearly always everywhere."""
    if reference.numel() == 0 or all(bound.isfinite() for bound in reference.aminmax()):
        return result, reference
    finite = reference.isfinite()
    return result[finite], reference[finite]


def _relative_error(
    before: ir.Model,
    after: ir.Model,
    change: Change,
    inputs: dict[str, torch.Tensor],
    allowed: float = 0.0,
) -> tuple[float, bool]:
    """(largest error relative to the largest value, whether the output is constant).

    Where the original itself is not finite, nothing is compared. Errors up to ``allowed`` are none.
    """
    worst, vacuous = 0.0, False
    expected = evaluate(before, inputs, outputs=change.outputs)
    actual = evaluate(after, inputs, outputs=change.outputs)
    for name in change.outputs:
        if actual[name].shape != expected[name].shape:
            raise PassError(
                f"{change.pass_name} changed the shape of {name} from "
                f"{tuple(expected[name].shape)} to {tuple(actual[name].shape)} at {change.nodes[0]}"
            )
        result, reference = _where_finite(actual[name], expected[name])
        if reference.numel() == 0:
            vacuous = True
            continue
        low, high = map(float, reference.aminmax())
        largest = max(-low, high)
        vacuous |= reference.numel() > 1 and low == high
        difference = max(float(result.sub(reference).abs_().max()) - allowed, 0.0)
        error = difference / largest if largest else difference
        worst = max(worst, error) if np.isfinite(error) else float("inf")
    return worst, vacuous


def _uncut(site: ir.Model, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The inputs, scaled so that every quantiser of the site is filled and cuts nothing off.

    What an exact rewrite takes is linear in its inputs: two runs tell how far they may go.

    Raises:
        PassError: a quantiser cuts values off whatever the inputs are.
    """
    pairs = [
        pair
        for node in site.graph
        if is_quantiser(node, DEQUANTIZE) and (pair := read_rounding(node.outputs[0])) is not None
    ]
    if not pairs:
        return inputs
    model, names = unrounded(site), [pair.source.name or "" for pair in pairs]
    start = evaluate(model, {n: torch.zeros_like(x) for n, x in inputs.items()}, outputs=names)
    end = evaluate(model, inputs, outputs=names)
    factor = np.inf
    for pair, name in zip(pairs, names, strict=True):
        middle, half = (pair.high + pair.low) / 2, (pair.high - pair.low) / 2 * _FILLED
        first, slope = start[name] - middle, end[name] - start[name]
        if float(first.abs().max()) > half:
            raise PassError(
                f"{layer_name(pair.nodes[0])} cuts values off even where the input is 0 ({pair})"
            )
        room = (torch.sign(slope) * half - first) / slope
        factor = min(factor, float(room[slope != 0].min()) if bool((slope != 0).any()) else np.inf)
    factor = factor if np.isfinite(factor) else 1.0
    return {name: value * factor for name, value in inputs.items()}


def _again(applied: Pass, site: ir.Model, change: Change) -> ir.Model:
    """The site rewritten on its own by the same pass, in the same form."""
    if isinstance(applied, Single):
        applied = applied.single(change)
    elif change.nodes and hasattr(applied, "only"):
        applied = replace(applied, only=(), exclude=())  # pyright: ignore[reportArgumentType, reportCallIssue]
    result = applied.apply(site)
    if not result.changes:
        raise PassError(f"{change.pass_name} did not rewrite {change.nodes[0]} a second time")
    return result.model


def _deployed_tolerance(model: ir.Model) -> float:
    stored = {value.dtype for value in model.graph.initializers.values()}
    short = (tolerance for dtype, tolerance in _SHORT_TOLERANCE.items() if dtype in stored)
    return max(short, default=DEPLOYED_TOLERANCE)


def check_site(applied: Pass, before: ir.Model, after: ir.Model, change: Change) -> SiteCheck:
    """The error of one exact change.

    Args:
        applied: the pass.
        before: the network before it.
        after: the network after it.
        change: the change; its inputs and outputs exist in both networks.

    Raises:
        PassError: the shapes at the site's output differ.
    """
    site = extract(before, change.inputs, change.outputs)
    rewritten = extract(after, change.inputs, change.outputs)
    # What follows from the numbers of the weights follows from no others.
    keeps = getattr(applied, "reads_weights", False)
    double = _double(site, None if keeps else np.random.default_rng(0))
    inputs = _random_inputs(double, seed=0)
    again = _again(applied, double, change)
    if is_quantised(double):
        double, again = unrounded(double), unrounded(again)
        inputs = inputs | _uncut(site, inputs)
    error, vacuous = _relative_error(double, again, change, inputs)
    deployed, _ = _relative_error(site, rewritten, change, inputs, change.deviation)
    return SiteCheck(change, error, deployed, _deployed_tolerance(rewritten), vacuous)


def _exact_changes(result: PassResult) -> tuple[Change, ...]:
    return tuple(change for change in result.changes if change.exact and change.inputs)


def check_sites(
    applied: Pass,
    before: ir.Model,
    result: PassResult,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[tuple[SiteCheck, ...], dict[str, str]]:
    """Check every exact change of one pass.

    Args:
        applied: the pass.
        before: the network before it.
        result: what it gave.
        progress: told (sites done, sites in all).

    Returns:
        The checks that passed, and by the first layer of a site why its check failed.
    """
    checks: list[SiteCheck] = []
    failures: dict[str, str] = {}
    changes = _exact_changes(result)
    for done, change in enumerate(changes):
        if progress is not None:
            progress(done, len(changes))
        try:
            check = check_site(applied, before, result.model, change)
            reason = check.failure
        except MlcnnError as error:
            failures[change.nodes[0]] = str(error)
            continue
        if reason is None:
            checks.append(check)
        else:
            failures[change.nodes[0]] = reason
    return tuple(checks), failures


def verify(
    result: "PipelineResult", *, progress: Callable[[int, int], None] | None = None
) -> Verification:
    """Check every site that an exact pass rewrote.

    Args:
        result: a pipeline's run.
        progress: told (sites done, sites in all) of each pass.

    Raises:
        PassError: a site's error exceeds the tolerance: the pass is wrong, and nothing that it
            made should be used.
    """
    checks: list[SiteCheck] = []
    for stage in result.stages:
        done, failures = check_sites(stage.applied, stage.before, stage.result, progress=progress)
        if failures:
            raise PassError(next(iter(failures.values())))
        checks.extend(done)
    return Verification(tuple(checks))
