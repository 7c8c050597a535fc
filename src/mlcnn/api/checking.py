"""The whole network before and after its exact rewrites, end to end in ONNX Runtime.

The check at each site shares the site's shapes with the rewrite, and so the rewrite's faults.
This one shares nothing with it: neither shapes nor kernels. A quantised network is compared without
its rounding first, where exact rewrites are exact; what rounding makes of them is compared loosely,
since a step that differs in one layer makes others differ behind it.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from mlcnn import engines, graph, workload
from mlcnn.engines import Arrays
from mlcnn.errors import MlcnnError, UnsupportedError
from mlcnn.graph import Difference, difference
from mlcnn.passes import Change
from mlcnn.passes.pipeline import PipelineResult

__all__ = ["NetworkCheck", "at_sites", "check_network"]

# An output that moves by less than this when the input is another one hides what is wrong.
_BLIND = 1e-2
_SHARED_BYTES = 2**26  # from so many on, weights are read where they lie
_MOST_MULTIPLICATIONS = 2e11
_BATCH = 2
_ROUNDED = 0.1  # of the largest value: what steps that differ in some layers may add up to
# Stand for dynamic heights and widths; the first that the network takes, and one even size more.
_SIZES = ((97, 95), (64, 64), (224, 224), (32, 32), (28, 28))

Run = Callable[[Arrays], dict[str, engines.Array]]


@dataclass(frozen=True, slots=True)
class NetworkCheck:
    """Whether the network computes the same after its exact rewrites.

    Attributes:
        error: largest difference at an output, relative to its largest value; None if skipped.
        blind: the outputs hardly depend on the input (constant or untrained weights), so that
            they could hide an error; then the rewritten sites inside the network count too.
        skipped: why the check was not made; empty if it was.
        culprit: the rewrite at which the networks part, and how; None if they agree.
        rounded: the largest difference of a quantised network, rounding and all; ``error`` is
            without it. None where nothing is quantised.
    """

    error: float | None = None
    blind: bool = False
    skipped: str = ""
    culprit: tuple[Change, str] | None = None
    rounded: float | None = None

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn optimize --json`` prints as ``network``."""
        figures: dict[str, object] = {
            "error": self.error,
            "blind": self.blind,
            "skipped": self.skipped or None,
        }
        return figures if self.rounded is None else figures | {"rounded": self.rounded}

    @property
    def told(self) -> str:
        """The figure, or why there is none."""
        if self.error is None:
            return f"not compared: {self.skipped or 'nothing was rewritten'}"
        where = " (blind at its outputs, which hardly depend on the input)" if self.blind else ""
        rounded = "" if self.rounded is None else f" without rounding, {self.rounded:.0e} with it"
        return f"{self.error:.0e}{rounded}{where}"


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Exact passes that follow each other: the networks around them and what they changed."""

    before: ir.Model
    after: ir.Model
    changes: tuple[Change, ...]


def _stretches(result: PipelineResult) -> Iterator[_Stretch]:
    before, changes = None, list[Change]()
    for stage in result.stages:
        exact = all(change.exact for change in stage.result.changes)
        if not exact and before is not None and changes:
            yield _Stretch(before, stage.before, tuple(changes))
        if not exact:
            before, changes = None, []
            continue
        before = before or stage.before
        changes.extend(stage.result.changes)
    if before is not None and changes:
        yield _Stretch(before, result.stages[-1].result.model, tuple(changes))


def check_network(
    result: PipelineResult, given: Sequence[Arrays] = (), *, seed: int = 0
) -> NetworkCheck:
    """Compare the networks around each run of exact passes, on random input and what is given.

    Args:
        result: a pipeline's run.
        given: more inputs to compare on, each with an array for every input, by name.
        seed: of the random inputs.

    Returns:
        The largest difference, or why there is none.
    """
    worst, blind, rounded = 0.0, False, None
    stretches = tuple(_stretches(result))
    if not stretches:
        return NetworkCheck()
    try:
        inputs = [*_random_inputs(stretches[0].before, seed), *given]
        for stretch in stretches:
            found = _check_stretch(stretch, inputs, seed)
            if found.culprit is not None or found.skipped:
                return found
            worst, blind = max(worst, found.error or 0.0), blind or found.blind
            if found.rounded is not None:
                rounded = max(rounded or 0.0, found.rounded)
    except MlcnnError as error:
        return NetworkCheck(skipped=str(error))
    return NetworkCheck(worst, blind, rounded=rounded)


def _run(model: ir.Model, inner: Sequence[str] = (), *, plain: bool = False) -> Run:
    plain = plain or bool(inner) or engines.weight_bytes(model) >= _SHARED_BYTES
    # Constant weights, as users run it: with all of the engine's own rewrites.
    return graph.Reference(model, threads=os.cpu_count() or 1, inner=inner, constant=not plain).run


def _check_stretch(stretch: _Stretch, inputs: Sequence[Arrays], seed: int) -> NetworkCheck:
    if not graph.is_quantised(stretch.before):
        return _compared(stretch, inputs, seed)
    plain = replace(
        stretch, before=graph.unrounded(stretch.before), after=graph.unrounded(stretch.after)
    )
    exact = _compared(plain, inputs, seed)
    if exact.culprit is not None:
        return exact
    rounded = _compared(stretch, inputs, seed, allowed=_ROUNDED)
    return rounded if rounded.culprit is not None else replace(exact, rounded=rounded.error)


def _compared(
    stretch: _Stretch, inputs: Sequence[Arrays], seed: int, *, allowed: float | None = None
) -> NetworkCheck:
    """Compare two networks; ``allowed`` stands for the tolerance where it is given."""
    # What is right needs no engine's rewrites: a session that copies no weights is made faster.
    before = _run(stretch.before, plain=allowed is None)
    expected = [before(arrays) for arrays in inputs]
    blind = _is_blind(before, expected[0], stretch.before, inputs[0], seed)
    del before
    try:
        after = _run(stretch.after)
        actual = [after(arrays) for arrays in inputs]
    except UnsupportedError as error:
        return NetworkCheck(culprit=(stretch.changes[-1], f"with it, {error}"))
    rows = [
        _difference(name, wanted[name], found[name], allowed)
        for wanted, found in zip(expected, actual, strict=True)
        for name in wanted
    ]
    del after, actual
    error = max((row.relative for row in rows), default=0.0)
    if not blind and all(row.ok for row in rows):
        return NetworkCheck(error)
    inside = [
        (change, row if allowed is None else replace(row, allowed=allowed))
        for change, row in at_sites(stretch.before, stretch.after, stretch.changes, inputs)
    ]
    wrong = next((pair for pair in inside if not pair[1].ok), None)
    if wrong is None:
        wrong = next(((stretch.changes[-1], row) for row in rows if not row.ok), None)
    if wrong is not None:
        return NetworkCheck(wrong[1].relative, blind, culprit=(wrong[0], f"with it, {wrong[1]}"))
    return NetworkCheck(max([error, *(row.relative for _, row in inside)]), blind)


def _difference(
    name: str, before: np.ndarray, after: np.ndarray, allowed: float | None
) -> Difference:
    row = difference(name, before, after)
    return row if allowed is None else replace(row, allowed=allowed)


def _is_blind(
    run: Run, outputs: Mapping[str, np.ndarray], model: ir.Model, arrays: Arrays, seed: int
) -> bool:
    """Whether another input hardly moves the outputs."""
    shapes = {name: array.shape for name, array in arrays.items()}
    others = engines.random_inputs(model, shapes=shapes, seed=seed + 1)
    moved = (difference(name, outputs[name], found) for name, found in run(others).items())
    return all(row.relative < _BLIND for row in moved)


def at_sites(
    before: ir.Model, after: ir.Model, changes: Sequence[Change], inputs: Sequence[Arrays]
) -> list[tuple[Change, Difference]]:
    """The difference at the output of every site that both networks have, in order.

    Args:
        before: the network before the changes.
        after: the network after them.
        changes: exact changes.
        inputs: what to run both on, each an array by input name.

    Raises:
        UnsupportedError: ONNX Runtime cannot run one of them.
    """
    of = {name: change for change in changes for name in change.outputs}
    kept = {value.name for node in after.graph for value in node.outputs}
    names = [
        value.name
        for node in before.graph
        for value in node.outputs
        if value.name in of and value.name in kept
    ]
    runs = [_run(model, names) for model in (before, after)]
    found: list[tuple[Change, Difference]] = []
    for arrays in inputs:
        wanted, actual = (run(arrays) for run in runs)
        found += [(of[name], difference(name, wanted[name], actual[name])) for name in names]
    return found


def _random_inputs(model: ir.Model, seed: int) -> list[Arrays]:
    """Inputs that the network takes: two sizes of them where it leaves height or width open.

    Raises:
        UnsupportedError: none of the sizes tried runs, or the network is too large.
    """
    shapes = [_shapes(model, size) for size in _SIZES]
    candidates = [s for index, s in enumerate(shapes) if s not in shapes[:index]]
    _require_moderate(model, candidates[0])
    if len(candidates) == 1:
        return [engines.random_inputs(model, shapes=candidates[0], seed=seed)]
    run, found, reason = _run(model), list[Arrays](), ""
    for candidate in candidates:
        arrays = engines.random_inputs(model, shapes=candidate, seed=seed)
        try:
            run(arrays)
        except MlcnnError as error:
            reason = reason or str(error)
            continue
        found.append(arrays)
        if len(found) == 2:
            break
    if not found:
        raise UnsupportedError(
            f"its inputs have dynamic sizes, and it takes none of those tried ({reason}); give "
            "--input-shape or --input"
        )
    return found


def _require_moderate(model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> None:
    given = next(iter(shapes.values())) if len(shapes) == 1 else None
    try:
        nests = workload.layers(model, batch=_BATCH, input_shape=given)
    except MlcnnError:
        return  # what cannot be counted is tried
    total = sum(nest.macs for nest in nests)
    if total > _MOST_MULTIPLICATIONS:
        raise UnsupportedError(
            f"{total:.1e} multiplications for {_BATCH} images take too long; compare outputs of "
            "your own with --input"
        )


def _shapes(model: ir.Model, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """A shape for every input: dynamic heights and widths as given, other sizes likewise."""
    shapes: dict[str, tuple[int, ...]] = {}
    for item in engines.signatures(model):
        dims = item.shape or (None,)
        shapes[item.name] = tuple(
            dim if isinstance(dim, int) else _BATCH if axis == 0 else size[axis % 2]
            for axis, dim in enumerate(dims)
        )
    return shapes
