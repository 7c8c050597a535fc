"""A network on an accelerator, against another: cycles, energy and area."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from os import PathLike, fspath

import onnx_ir as ir

from mlcnn import accelerators
from mlcnn.accelerators import LEFT_OUT, Machine, Technology
from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.benchmarking import fixed_batch
from mlcnn.api.loading import Source, load
from mlcnn.api.optimized import Optimized
from mlcnn.api.optimizing import Progress, default_passes, require_no_rewrite, rewrite, silent
from mlcnn.api.options import NO_REWRITE, RewriteOptions
from mlcnn.api.per_image import PerImage, real_images
from mlcnn.api.two_networks import as_they_are, is_network, named
from mlcnn.errors import InfeasibleError, InputError, UnsupportedError
from mlcnn.passes import KEEP, Choice
from mlcnn.workload import ConvLayer

__all__ = [
    "DEFAULT_BATCH",
    "EvaluateOptions",
    "Fused",
    "Machines",
    "energy_per_image",
    "evaluate",
    "evaluate_all",
    "for_machines",
]

DEFAULT_BATCH = 16
"""Images, where the user names no number: weights are loaded once for all of them."""


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """On what to evaluate: machines and tables as the user names them.

    Attributes:
        on: the accelerators asked about: names, or paths of ``.yaml`` files.
        against: the one that they are compared with.
        technology: energy and area tables: a name, parts of one, or the path of a ``.yaml`` file;
            None for the default ones.
        batch: images; None for ``DEFAULT_BATCH``, or what the network is fixed to.
    """

    on: tuple[str, ...] = ("mlcnn-fp32", "mlcnn-fp16", "mlcnn-int8")
    against: str = "dcnn-fp32"
    technology: str | None = None
    batch: int | None = None

    def load(self) -> "Machines":
        """Read the descriptions, so that what is wrong with them is known before the work.

        Raises:
            InputError: a name is not known, a file is wrong, a memory lies outside the tables,
                or the batch is below 1.
        """
        if self.batch is not None and self.batch < 1:
            raise InputError(f"evaluating at batch {self.batch}: it must be 1 or more")
        named = accelerators.DEFAULT_TECHNOLOGY if self.technology is None else self.technology
        tables = accelerators.load_technology(named)
        on = tuple(accelerators.load_accelerator(name) for name in self.on)
        against = accelerators.load_accelerator(self.against)
        for machine in (*on, against):
            machine.area(tables)
        return Machines(on, against, tables, self.batch)


@dataclass(frozen=True, slots=True)
class Machines:
    """The same as descriptions and tables."""

    on: tuple[Machine, ...]
    against: Machine
    technology: Technology
    batch: int | None

    def compare(self, model: ir.Model, accelerator: Machine) -> accelerators.Evaluation:
        """One of the machines on a network, also at equal precision.

        See ``mlcnn.accelerators.evaluate``.
        """
        batch = _batch(model, self.batch)
        found = accelerators.evaluate(
            model, accelerator, self.against, self.technology, batch=batch
        )
        costs = accelerators.Conditional(model, accelerator, self.technology)
        if costs.workload().is_dynamic:
            found = replace(found, extremes=costs.extremes(batch))
        precision = accelerators.precision_of(accelerator)
        if precision is None or precision is accelerators.precision_of(self.against):
            return found
        equal = accelerators.equal_precision(self.against, precision)
        with suppress(InfeasibleError):  # of a machine that nobody asked for
            return accelerators.with_equal_precision(found, equal)
        return found

    def compare_networks(
        self, pair: tuple[ir.Model, ir.Model], names: tuple[str, str]
    ) -> accelerators.NetworkComparison:
        """Two networks on the first of the machines.

        See ``mlcnn.accelerators.compare_networks``.
        """
        after, before = pair
        batch, on = _batch(after, _batch(before, self.batch)), self.on[0]
        found = accelerators.compare_networks(
            after, before, on, self.technology, names=names, batch=batch
        )
        each = (accelerators.Conditional(model, on, self.technology) for model in pair)
        depends = (
            f"{name}: {line}"
            for name, costs in zip(names, each, strict=True)
            if costs.workload().is_dynamic
            for line in costs.extremes(batch).told
        )
        return replace(found, depends=tuple(depends))

    def batch_of(self, model: ir.Model) -> int:
        """Images that a network is evaluated for.

        Raises:
            InputError: it is fixed to another number.
        """
        return _batch(model, self.batch)


class Fused:
    """Takes the plainest form wherever there is one: what engines are slow at, hardware is not."""

    def choose(
        self, layer: ConvLayer | None, candidates: Mapping[str, Callable[[], ir.Model]]
    ) -> Choice:
        """The first form that the site takes; see ``Chooser``."""
        del layer
        form = next((name for name in candidates if name != KEEP), KEEP)
        return Choice(form, "fused wherever it can be, for an accelerator")


def _batch(model: ir.Model, asked: int | None) -> int:
    fixed = fixed_batch(model)
    if fixed is not None and asked not in {None, fixed}:
        raise InputError(
            f"evaluating at batch {asked}: the network is fixed to a batch of {fixed}; leave the "
            "option away, or export the network with a dynamic batch"
        )
    return fixed or asked or DEFAULT_BATCH


def for_machines(model: ir.Model, passes: str, options: RewriteOptions = NO_REWRITE) -> ir.Model:
    """The network as a machine runs it: every site fused that can be, whatever an engine gains.

    Args:
        model: the network; it is not changed.
        passes: the pipeline, if ``options`` has none.
        options: the rewrite; its ``form`` limits the layers to those that take this form.

    Raises:
        InputError: an option cannot be used.
    """
    return rewrite(model, passes, options, check=False, chooser=Fused()).model


def evaluate(
    source: Source,
    rewriting: RewriteOptions = NO_REWRITE,
    *,
    on: "str | PathLike[str]" = "mlcnn-fp32",
    against: Source = "dcnn-fp32",
    batch: int | None = None,
    technology: "str | PathLike[str] | None" = None,
    input_shape: Sequence[int] | None = None,
    weights: "str | PathLike[str] | None" = None,
    progress: Progress | None = None,
) -> accelerators.Evaluation | accelerators.NetworkComparison:
    """Cycles, traffic, energy and area of a network on an accelerator, against another.

    Both machines get the layers of the rewritten network, each convolution with the pool that the
    rewrite moved behind it; each runs every layer in the way that is fastest there. Nothing is
    measured: the figures come from the models of ``mlcnn.accelerators``.

    Args:
        source: see ``load``. What ``optimize`` returned has the layers fused that it has there.
        rewriting: the rewrite; every site is fused that can be.
        on: the accelerator asked about: a name (``mlcnn.accelerators.accelerator_names()``), or
            the path of a ``.yaml`` file.
        against: the machine to compare with: the same. Or another network, see ``load``: then
            both run on ``on`` as they are, without a rewrite, layer by layer, joined by name.
        batch: images; by default 16, or what the network is fixed to.
        technology: energy and area tables: a name (``mlcnn.accelerators.technology_names()``),
            parts of one, or the path of a ``.yaml`` file.
        input_shape: see ``load``; needed where height or width are dynamic.
        weights: see ``load``.
        progress: told how the work goes on.

    Returns:
        Every layer on both machines, and what they come to: ``fused`` over the fused layers (None
        if there are none) and ``network`` over all. Of two networks, a ``NetworkComparison``.

    Raises:
        InputError: the source, a machine, the tables or an option cannot be used, or two networks
            share no layer name.
        UnsupportedError: a layer's sizes are not known.
        InfeasibleError: a machine cannot run a layer.

    Example:
        >>> import mlcnn
        >>> found = mlcnn.evaluate("lenet5", on="mlcnn-fp32", against="dcnn-fp32")
        >>> [(row.name, row.cost.bound) for row in found.layers if row.fused]
        [('conv1', 'multipliers'), ('conv2', 'multipliers')]
        >>> found.fused.speedup > found.network.total_speedup > 1
        True
    """
    tell = progress or silent
    tables = None if technology is None else fspath(technology)
    is_pair = is_network(against)
    other = fspath(on) if is_pair else str(against)
    machines = EvaluateOptions((fspath(on),), other, tables, batch).load()
    tell("load", 0, 0)
    if is_pair:
        pair = as_they_are(source, against, rewriting, input_shape=input_shape, weights=weights)
        return machines.compare_networks(pair, named(source, against))
    if isinstance(source, Optimized):
        require_no_rewrite(rewriting, input_shape=input_shape, weights=weights)
        rewritten = source.model
    else:
        model = load(source, input_shape=input_shape, weights=weights)
        rewritten = for_machines(model, default_passes(source), rewriting)
    tell("evaluate", 0, 0)
    return machines.compare(rewritten, machines.on[0])


def energy_per_image(
    source: Source,
    data: "str | PathLike[str]",
    images: ImageOptions | None = None,
    rewriting: RewriteOptions = NO_REWRITE,
    *,
    on: "str | PathLike[str]" = "mlcnn-fp32",
    batch: int | None = None,
    technology: "str | PathLike[str] | None" = None,
    weights: "str | PathLike[str] | None" = None,
    progress: Progress | None = None,
) -> PerImage:
    """Energy and time that real images take on an accelerator in a network that leaves work out.

    Args:
        source: see ``load``.
        data: see ``training.read_images``; its test images count, 2,000 at most.
        images: how they go to the network.
        rewriting: see ``evaluate``.
        on: the accelerator.
        batch: images that go together, by chance; see ``evaluate``.
        technology: see ``evaluate``.
        weights: see ``load``.
        progress: told how the work goes on.

    Raises:
        InputError: the source, the data or an option cannot be used, or every image costs the same.
        InfeasibleError: the machine cannot run a layer.
    """
    tell = progress or silent
    tables = None if technology is None else fspath(technology)
    machines = EvaluateOptions((fspath(on),), technology=tables, batch=batch).load()
    model = load(source, weights=weights)
    rewritten = for_machines(model, default_passes(source), rewriting)
    found = real_images(source, rewritten, data, images)
    tell("find out what runs", 0, 0)
    activity, count = found.activity(), machines.batch_of(rewritten)
    return found.energy(activity, machines.on[0], machines.technology, count)


def evaluate_all(
    model: ir.Model,
    machines: Machines,
    progress: Progress = silent,
) -> tuple[tuple[accelerators.Evaluation, ...], tuple[str, ...]]:
    """A loaded network on several machines; one that cannot run it does not keep others from it.

    Args:
        model: the network, see ``for_machines``.
        machines: the machines.
        progress: told how the work goes on.

    Returns:
        The comparisons, and notes on machines that have none and on layers that no machine runs.
    """
    found: list[accelerators.Evaluation] = []
    failed: dict[str, list[str]] = {}
    for done, machine in enumerate(machines.on):
        progress("evaluate", done, len(machines.on))
        try:
            found.append(machines.compare(model, machine))
        except (InfeasibleError, InputError, UnsupportedError) as error:
            failed.setdefault(str(error), []).append(machine.name)
    notes = [f"not evaluated on {', '.join(names)}: {why}" for why, names in failed.items()]
    notes += dict.fromkeys(
        f"{each.accelerator.name}: {line}"
        for each in found
        if each.extremes is not None
        for line in each.extremes.told
    )
    left = (
        [other.name for other in found[0].uncounted if other.operator == LEFT_OUT] if found else []
    )
    if left:
        notes.append(f"not in the figures of the accelerators: {LEFT_OUT} ({', '.join(left)})")
    return tuple(found), tuple(notes)
