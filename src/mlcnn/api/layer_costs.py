"""What each layer takes in each of its sizes: counted, or measured on the engine that is to run it.

Layers are cut out of the network, so that what is rewritten for a size is one layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import onnx_ir as ir

from mlcnn.api.affording import EXACT
from mlcnn.api.benchmarking import MeasureOptions, chooser_for, settings
from mlcnn.api.optimizing import rewrite
from mlcnn.engines import MeasuredChooser
from mlcnn.errors import UnsupportedError
from mlcnn.graph import extract
from mlcnn.passes import Sized, pipeline, with_activation
from mlcnn.workload import ConvLayer, read

__all__ = ["BySize", "Costs", "Counter", "Stopwatch"]

BySize = Mapping[int, float]
"""Costs of a layer by its size; 1 is the layer as it is."""


class Costs(Protocol):
    """Costs that add up over the layers of a network."""

    @property
    def where(self) -> str:
        """What they were measured on; empty where they are counted."""
        ...

    def networks(self, models: Mapping[str, ir.Model]) -> Mapping[str, float]:
        """Of whole networks."""
        ...

    def layer(self, model: ir.Model, name: str, sized: Sized, sizes: tuple[int, ...]) -> BySize:
        """Of one layer as it is and in each size. Only differences count."""
        ...


@dataclass(frozen=True, slots=True)
class Counter:
    """Counts for one image.

    Attributes:
        multiplications: whether it counts these, of the forms chosen; else stored parameters.
    """

    multiplications: bool

    @property
    def where(self) -> str:
        """Nothing is measured."""
        return ""

    def networks(self, models: Mapping[str, ir.Model]) -> dict[str, float]:
        """Of whole networks."""
        return {name: float(self._count(model)) for name, model in models.items()}

    def layer(self, model: ir.Model, name: str, sized: Sized, sizes: tuple[int, ...]) -> BySize:
        """Of one layer as it is and in each size."""
        site, _ = _site(model, name)
        return {size: float(self._count(_as(site, name, sized, size))) for size in (1, *sizes)}

    def _count(self, model: ir.Model) -> int:
        if not self.multiplications:
            return sum(layer.stored.parameters for layer in read(model).layers)
        lowered = rewrite(model, "choose", check=False)
        return sum(row.chosen.multiplications for row in lowered.counts().layers)


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Times networks and single layers after all exact passes.

    Attributes:
        chooser: times, on one engine and batch size, and chooses forms by its times.
    """

    chooser: MeasuredChooser
    _known: dict[object, BySize] = field(default_factory=dict[object, BySize], repr=False)

    @classmethod
    def fastest(cls, model: ir.Model, options: MeasureOptions) -> "Stopwatch":
        """On the engine that runs a network fastest, of those that are asked for.

        The first batch size counts.

        Raises:
            InputError: an option does not fit the network.
            UnsupportedError: no engine runs it.
        """
        chosen = settings(model, options)
        found: dict[float, Stopwatch] = {}
        reasons: list[str] = []
        for setting in chosen:
            if setting.batch != chosen[0].batch:
                continue
            chooser = chooser_for(model, replace(options, chosen=True), setting)
            if chooser is None:
                raise TypeError("forms are chosen by measured times here")
            watch = cls(chooser)
            try:
                found[watch.networks({"": model})[""]] = watch
            except UnsupportedError as error:
                reasons.append(str(error))
        if not found:
            raise UnsupportedError(f"--budget time: {'; '.join(reasons)}")
        return found[min(found)]

    @property
    def where(self) -> str:
        """Engine, batch size and threads."""
        it = self.chooser
        return f"{it.measured_on}, batch {it.batch}, {it.threads} thread{'s' * (it.threads > 1)}"

    def networks(self, models: Mapping[str, ir.Model]) -> dict[str, float]:
        """Of whole networks in ms, measured in turn."""
        return self.chooser.network_ms({n: self._exact(m) for n, m in models.items()})

    def layer(self, model: ir.Model, name: str, sized: Sized, sizes: tuple[int, ...]) -> BySize:
        """Of one layer as it is and in each size, in ms, norm and activation behind it included.

        Layers of one geometry are measured once. Only differences count: see ``site_ms``.
        """
        site, nest = _site(model, name)
        key = (replace(nest, name="", N=1), tuple(node.op_type for node in site.graph), sizes)
        if key not in self._known:
            sites = {f"{size}": self._exact(_as(site, name, sized, size)) for size in (1, *sizes)}
            found = self.chooser.site_ms(nest, sites)
            self._known[key] = {int(size): ms for size, ms in found.items()}
        return self._known[key]

    def _exact(self, model: ir.Model) -> ir.Model:
        return rewrite(model, EXACT, check=False, chooser=self.chooser).model


def _as(site: ir.Model, name: str, sized: Sized, size: int) -> ir.Model:
    """A layer by itself in a size."""
    if size == 1:
        return site
    return pipeline.run(site, [sized.sized({name: size})]).model


def _site(model: ir.Model, name: str) -> tuple[ir.Model, ConvLayer]:
    """A layer cut out of a network up to the last pointwise operator behind it, and its nest."""
    workload = read(model)
    found = [layer.name for layer in workload.layers].index(name)
    nodes = workload.nodes[found]
    source, output = nodes[0].inputs[0], nodes[-1].outputs[0]
    if source is None:
        raise ValueError(f"{name}: a layer without an input")
    while (after := with_activation(output)) is not output:
        output = after
    site = extract(model, [source.name or ""], [output.name or ""])
    return site, workload.layers[found].nest
