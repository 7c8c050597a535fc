"""How ``fuse`` chooses a form per site: by a cost model, or by measurement (engines)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import onnx_ir as ir

from mlcnn.ops import find_form, untouched
from mlcnn.workload import ConvLayer

__all__ = ["KEEP", "STRUCTURE_KEY", "Choice", "Chooser", "CostModel"]

KEEP = "keep"
STRUCTURE_KEY = "mlcnn.structure"
"""Metadata of the network of ``keep``: the structure of the other candidates' weights, if any."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen form and why.

    Attributes:
        form: name of the form, or ``keep`` to leave convolution and pool as they are.
        reason: the figures behind the choice, for the report.
    """

    form: str
    reason: str


@runtime_checkable
class Chooser(Protocol):
    """Chooses the form of one site."""

    def choose(
        self, layer: ConvLayer | None, candidates: Mapping[str, Callable[[], ir.Model]]
    ) -> Choice:
        """Choose among ``candidates``.

        Args:
            layer: the convolution with its pool; None where height or width are dynamic.
            candidates: form -> builder of a small network that computes the site in that form,
                the activation behind it included; ``keep`` is the unfused site. All have the
                same one input and one output; the batch is dynamic.
        """
        ...


class CostModel:
    """Chooses by an estimate of work and traffic, where nothing is measured.

    The estimate counts multiply-accumulates, elements read and written, and nodes. It is good for
    the order of forms that differ much; measure where it matters.
    """

    def choose(
        self, layer: ConvLayer | None, candidates: Mapping[str, Callable[[], ir.Model]]
    ) -> Choice:
        """Choose the form of least estimated cost; by rank where sizes are dynamic."""
        if layer is None:
            ranks = {name: form.rank for name in candidates if (form := find_form(name))}
            known = {name: rank for name, rank in ranks.items() if rank is not None}
            chosen = min(known, key=lambda name: known[name], default=KEEP)
            return Choice(chosen, "height and width are dynamic: chosen without an estimate")
        costs = {name: _cost(name, layer) for name in candidates}
        best = min(costs, key=lambda name: costs[name])
        ratio = costs[KEEP] / costs[best]
        return Choice(best, f"estimated {ratio:.2f}x the speed of the unfused site")


def _cost(name: str, layer: ConvLayer) -> float:
    """Estimated cost of one image, in multiply-accumulates."""
    form = find_form(name)
    return untouched(layer) if form is None else form.estimate(layer)
