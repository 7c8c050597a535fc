"""A network held against a baseline: no larger, no less accurate, no slower, the same outputs.

What is counted is certain and repeats itself. What is measured is not, so a verdict on time needs
more than a ratio (see ``mlcnn.engines.slowdown``), and noise never fails a check.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

import onnx_ir as ir

from mlcnn import counting, engines
from mlcnn.api.accuracy import ImageOptions, Labelled, labelled_images
from mlcnn.api.benchmarking import MeasureOptions, fixed_batch
from mlcnn.api.checked import Checked, Countable, Finding, Limits
from mlcnn.api.engine_accuracy import decisions
from mlcnn.api.loading import Source, alike, load, model_name
from mlcnn.api.optimizing import Progress, silent
from mlcnn.api.own_data import read_inputs
from mlcnn.api.slowing import slowdowns
from mlcnn.api.two_networks import named
from mlcnn.engines import Signature
from mlcnn.engines.slowdown import Slowdown, Verdict
from mlcnn.errors import InputError, did_you_mean
from mlcnn.frontier import file_bytes
from mlcnn.graph import difference
from mlcnn.training.intervals import paired, points

__all__ = ["check"]

_BATCH = 2
_EQUAL = 1e-9  # of two numbers that were computed from decimal ones
_ENGINE = "onnxruntime"


def check(
    source: Source,
    baseline: Source,
    *,
    no_more: Sequence[str] = (),
    max_error: float | None = None,
    max_drop: float | None = None,
    not_slower: float | None = None,
    data: "str | PathLike[str] | None" = None,
    inputs: "str | PathLike[str] | None" = None,
    imaging: ImageOptions | None = None,
    measuring: MeasureOptions | None = None,
    input_shape: Sequence[int] | None = None,
    weights: "str | PathLike[str] | None" = None,
    progress: Progress | None = None,
) -> Checked:
    """Whether a network is no worse than a baseline, by the limits given: one at least.

    Args:
        source: see ``load``.
        baseline: the network that it is held against; both as they are, no pass runs.
        no_more: what may not grow; see ``Limits``.
        max_error: see ``Limits``. Outputs are those of ONNX Runtime.
        max_drop: percentage points of top-1 accuracy that may be lost on ``data``.
        not_slower: share by which the time may be longer, 0.02 for 2 %: the check fails where the
            time is longer for sure (``mlcnn.engines.slowdown``).
        data: labelled images, as for ``finetune``; the test images count.
        inputs: ``.npz`` of inputs on which outputs are compared; random ones by default.
        imaging: how the images go to the networks.
        measuring: on what to measure the time; the engine ``onnxruntime`` by default.
        input_shape: see ``load``; of both.
        weights: see ``load``; of ``source``.
        progress: told how the work goes on.

    Raises:
        InputError: no limit, a limit without what it needs, a network that cannot be read, or one
            that takes or gives something else than the baseline.
        UnsupportedError: an engine does not run one of them.

    Example:
        >>> import mlcnn
        >>> fused = mlcnn.optimize("lenet5", form="box")
        >>> checked = mlcnn.check(fused, "lenet5", no_more=["multiplications"])
        >>> checked.ok, checked.findings[0].told
        (True, 'multiplications 207,120 (baseline 651,720)')
    """
    limits = Limits(tuple(map(_countable, no_more)), max_error, max_drop, not_slower)
    _require_companions(limits, data, inputs)
    tell = progress or silent
    tell("load", 0, 0)
    after = load(source, input_shape=input_shape, weights=weights)
    before = load(baseline, input_shape=input_shape)
    names = named(source, baseline)
    shape = None if input_shape is None else tuple(input_shape)
    _require_same_ends(after, before, (_given(source), _given(baseline)))

    def findings() -> Iterator[Finding]:
        for kind in limits.no_more:
            tell("count", 0, 0)
            yield _counted(kind, _amount(kind, after, shape), _amount(kind, before, shape))
        if limits.max_error is not None:
            tell("outputs", 0, 0)
            given = _inputs(after, before, shape, inputs)
            yield _error(after, before, given, limits.max_error)
        if limits.max_drop is not None and data is not None:
            images = labelled_images(source, Path(data), after, imaging or ImageOptions())
            yield _drop(after, before, images, limits.max_drop, tell)
        if limits.not_slower is not None:
            chosen = measuring or MeasureOptions(engines=(_ENGINE,))
            for where, found in slowdowns(after, before, chosen, 1 + limits.not_slower, tell):
                yield _time(where, found)

    return Checked(*names, tuple(findings()))


def _countable(name: str) -> Countable:
    try:
        return Countable(name)
    except ValueError:
        near = did_you_mean(name, map(str, Countable))
        raise InputError(f"--no-more {name}: {', '.join(Countable)} can be counted{near}") from None


def _require_companions(limits: Limits, data: object, inputs: object) -> None:
    """Refuse a limit without what it needs, and what no limit needs."""
    if limits.max_drop is not None and data is None:
        raise InputError(
            f"--max-drop {limits.max_drop:g}: accuracy is measured on labelled images: give "
            "--data, as a folder with a folder of images for each class"
        )
    if limits.max_drop is None and data is not None:
        raise InputError(f"--data {data}: it belongs to --max-drop, which was not given")
    if limits.max_error is None and inputs is not None:
        raise InputError(f"--input {inputs}: it belongs to --max-error, which was not given")


def _given(source: Source) -> str:
    return str(source) if isinstance(source, str | os.PathLike) else model_name(source)


def _require_same_ends(after: ir.Model, before: ir.Model, names: tuple[str, str]) -> None:
    """Refuse networks that one caller could not run in the same way."""
    ends = (
        ("takes", engines.signatures(after), engines.signatures(before)),
        ("gives", _outputs(after), _outputs(before)),
    )
    for verb, new, old in ends:
        if len(new) != len(old) or not all(map(_same, new, old)):
            raise InputError(
                f"--baseline {names[1]}: it {verb} {_listed(old)}, {names[0]} {verb} "
                f"{_listed(new)}; a baseline has the same inputs and outputs by name, type and "
                "shape"
            )


def _outputs(model: ir.Model) -> tuple[Signature, ...]:
    return tuple(
        Signature(
            value.name or "",
            (value.dtype or ir.DataType.FLOAT).numpy(),
            None
            if value.shape is None
            else tuple(size if isinstance(size, int) else size.value for size in value.shape),
        )
        for value in model.graph.outputs
    )


def _same(new: Signature, old: Signature) -> bool:
    if (new.name, new.dtype) != (old.name, old.dtype):
        return False
    return new.shape is None or old.shape is None or alike(new.shape, old.shape)


def _listed(signatures: Sequence[Signature]) -> str:
    return ", ".join(map(str, signatures)) or "nothing"


def _amount(kind: Countable, model: ir.Model, shape: tuple[int, ...] | None) -> int:
    if kind is Countable.BYTES:
        return file_bytes(model)
    rows = counting.count(model, input_shape=shape).layers
    if kind is Countable.PARAMETERS:
        return sum(row.stored[1].parameters for row in rows)
    return sum(row.chosen.multiplications for row in rows)


def _counted(kind: Countable, new: int, old: int) -> Finding:
    more = new - old
    told = f"{kind} {new:,} (baseline {old:,})"
    if more > 0:
        share = f" ({more / old:.2%})" if old else ""
        told = f"{kind} {new:,}, which are {more:,} more{share} than the baseline's {old:,}"
    return Finding(str(kind), more <= 0, told, new, old)


def _inputs(
    after: ir.Model,
    before: ir.Model,
    shape: tuple[int, ...] | None,
    path: "str | PathLike[str] | None",
) -> engines.Arrays:
    if path is not None:
        return read_inputs(Path(path), after)
    fixed = after if fixed_batch(after) else before
    batch = fixed_batch(fixed) or (shape[0] if shape else _BATCH)
    return engines.random_inputs(fixed, batch)


def _error(after: ir.Model, before: ir.Model, inputs: engines.Arrays, limit: float) -> Finding:
    """The worst output; relative to its largest value, as everywhere."""
    engine = engines.get(_ENGINE)
    old, new = (engine.prepare(model).run(inputs) for model in (before, after))
    worst = max((difference(name, old[name], new[name]) for name in old), key=lambda d: d.relative)
    told = f"error {worst.relative:.1e} (limit {limit:g})"
    if worst.relative > limit:
        times = f", {worst.relative / limit:.3g} times the limit {limit:g}"
        told = f"error {worst.relative:.1e} at output {worst.name}{times if limit else ', not 0'}"
    return Finding("error", worst.relative <= limit, told, worst.relative, limit)


def _drop(
    after: ir.Model, before: ir.Model, images: Labelled | None, limit: float, tell: Progress
) -> Finding:
    """The change on the same images, of which those alone count that one network has right."""
    if images is None:
        raise InputError("--max-drop: there are no images")
    found = [
        decisions(
            model, images.images, _ENGINE,
            tell=lambda done, total, stage=stage: tell(stage, done, total),
        )
        for stage, model in (("accuracy before", before), ("accuracy after", after))
    ]  # fmt: skip
    count = min(map(len, found))
    was, now = (each[:count] == images.labels[:count] for each in found)
    change = paired(was, now)
    drop, low, high = (-100 * share for share in (change.top1, *reversed(change.interval)))
    ok = drop <= limit + _EQUAL
    verdict = (
        f"allowed drop {limit:g}" if ok else f"a drop that exceeds {limit:g} by {drop - limit:.2f}"
    )
    told = f"accuracy {now.mean():.2%}, {points(change)} on {count:,} images, {verdict}"
    finding = Finding("accuracy", ok, told, drop, limit, (low, high))
    return finding if finding.sure else replace(finding, told=f"{told}, too few images to be sure")


def _time(where: str, found: Slowdown) -> Finding:
    low, high = found.interval
    between = f"{low:.3f} to {high:.3f} in {len(found.ratios)} trials"
    times = f"{where}: {found.value:.3f} times the time"
    match found.verdict:
        case Verdict.SLOWER:
            more = found.value - found.limit
            told = f"{times} ({between}), which exceeds {found.limit:g} by {more:.3f}"
        case Verdict.WITHIN:
            told = f"{times} ({between}; limit {found.limit:g})"
        case Verdict.UNDECIDED:
            told = f"{times} ({between}; limit {found.limit:g}), too noisy to tell"
    ok = found.verdict is not Verdict.SLOWER
    return Finding("time", ok, told, found.value, found.limit, found.interval)
