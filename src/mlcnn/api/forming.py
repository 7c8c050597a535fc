"""In which forms a smaller network is saved: fast in one engine, slower than it was in none."""

from dataclasses import dataclass

import onnx_ir as ir

from mlcnn.api.benchmarking import MeasureOptions, chooser_for, settings
from mlcnn.api.optimizing import rewrite
from mlcnn.engines import Bench, NeverSlower, Plain
from mlcnn.ops import method_of, methods
from mlcnn.passes import Chooser
from mlcnn.report import ORIGINAL

__all__ = ["Forming", "slower_in"]


@dataclass(frozen=True, slots=True)
class Forming:
    """How forms are chosen.

    Attributes:
        measuring: the engines that are asked, the first one for what is fast.
    """

    measuring: MeasureOptions

    def chosen(self, model: ir.Model) -> ir.Model:
        """The network with the forms that the first engine runs fastest and no other one slower."""
        return self._with(model, self._chooser(model))

    def plain(self, model: ir.Model) -> ir.Model:
        """The network with every layer computed as it was before it had a structure."""
        return self._with(model, _plain())

    def _with(self, model: ir.Model, chooser: Chooser | None) -> ir.Model:
        if not any(method_of(node) for node in model.graph):
            return model
        return rewrite(model, "choose", chooser=chooser).model

    def _chooser(self, model: ir.Model) -> Chooser | None:
        """Asks each engine at its first batch size; None for the estimate."""
        first = {setting.engine: setting for setting in reversed(settings(model, self.measuring))}
        asked = [chooser_for(model, self.measuring, first[name]) for name in reversed(first)]
        choosers = tuple(chooser for chooser in asked if chooser is not None)
        return NeverSlower(choosers, _plain()) if choosers else None


def _plain() -> Plain:
    return Plain(frozenset(method.plain for method in methods().values() if method.plain))


def slower_in(bench: Bench, name: str) -> str:
    """The engines in which a network is surely slower than the original; empty if there is none."""
    found: dict[str, str] = {}
    for row in bench.results:
        ratio = bench.speedup(row.engine, name, ORIGINAL, row.batch)
        if row.variant == name and ratio is not None and ratio.high < 1:
            told = f"{row.engine} ({ratio.value:.2f}x, {ratio.low:.2f} to {ratio.high:.2f})"
            found.setdefault(row.engine, told)
    return ", ".join(found.values())
