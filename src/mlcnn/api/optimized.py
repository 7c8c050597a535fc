"""A rewritten network, and what was done to it."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from mlcnn import counting, engines, graph, nn
from mlcnn.api.checking import NetworkCheck
from mlcnn.api.differing import NetworkDiff, diff_models
from mlcnn.api.loading import Rewritten
from mlcnn.api.netron import require_netron, show_in_netron
from mlcnn.api.summarising import Origin, summarise
from mlcnn.errors import UnsupportedError
from mlcnn.passes import Change, Skipped
from mlcnn.passes.verification import Verification
from mlcnn.report import ORIGINAL, RESULT, Page, render
from mlcnn.table import Shown, Tabular

__all__ = ["Optimized"]

_ALL_OF_IT = 1 - 1e-9  # weights that had the structure already lose nothing but rounding
_MOST_NAMED = 8


@dataclass(frozen=True, slots=True, repr=False)
class Optimized(Rewritten, Tabular):
    """A rewritten network, and what was done to it.

    Attributes:
        original: the network as it was loaded.
        model: the rewritten network; the fused operators are functions of the domain ``mlcnn``.
        stages: the network after the last approximate pass that changed it, by the names of those
            passes, if exact ones changed it further: what the gain of these is measured against.
        pipeline: the passes as text, with the chosen form of each site; it can be run again.
        settled: the same with the forms open, for another engine or a machine: it changes the same
            layers.
        changes: every rewritten site, pass by pass.
        skipped: every site that was left alone, with the reason.
        verification: the check of the exact rewrites; None if it was not asked for.
        network: the check of the whole network; None if it was not asked for.
    """

    original: ir.Model
    model: ir.Model
    stages: Mapping[str, ir.Model]
    pipeline: str
    settled: str
    changes: tuple[Change, ...]
    skipped: tuple[Skipped, ...]
    verification: Verification | None
    network: NetworkCheck | None = None

    @property
    def variants(self) -> dict[str, ir.Model]:
        """What is measured side by side: the original, the stages, and the result if it differs."""
        found = {ORIGINAL: self.original, **self.stages}
        return found | {RESULT: self.model} if self.changes else found

    @property
    def fused(self) -> tuple[Change, ...]:
        """The changes with a form: sites that are computed otherwise than by plain operators."""
        return tuple(change for change in self.changes if change.form is not None)

    @property
    def changed(self) -> bool:
        """Whether a layer takes other operations now than before.

        Where sizes are dynamic, so that nothing can be counted: whether a site is fused.
        """
        if self.fused or not self.changes:
            return bool(self.fused)
        try:
            return self.counts().changed
        except UnsupportedError:
            return False

    @property
    def approximate(self) -> bool:
        """Whether a pass changed what the network computes, so that it needs fine-tuning."""
        return any(not change.exact for change in self.changes)

    @property
    def max_error(self) -> float | None:
        """Largest error at an exactly rewritten site in float64, relative to its largest value."""
        if self.verification is None or not self.verification.sites:
            return None
        return self.verification.max_error

    @property
    def stored_error(self) -> float | None:
        """The same error with the weights as the rewritten network stores them."""
        if self.verification is None or not self.verification.sites:
            return None
        return self.verification.max_deployed_error

    @property
    def vacuous(self) -> bool:
        """Whether the check could not have seen an error, or there was nothing to check."""
        return self.verification is None or self.verification.vacuous

    @property
    def verified(self) -> str:
        """What was checked, in one line."""
        if self.verification is None or self.network is None:
            return "not verified"
        sites = len(self.verification.sites)
        places = "no site" if not sites else "1 site" if sites == 1 else f"{sites} sites"
        return f"verified: {places} in float64; whole network {self.network.told}"

    def untrained(self, source: str = "NETWORK") -> str | None:
        """What the user must know where weights were projected onto a structure, and not trained.

        Args:
            source: what the commands that help call the network.

        Returns:
            None where no energy was lost so.
        """
        lost = sorted(
            (change.kept, change.nodes[0], change.pass_name)
            for change in self.changes
            if change.kept is not None and change.kept < _ALL_OF_IT
        )
        if not lost:
            return None
        names = ", ".join(dict.fromkeys(name for *_, name in lost))
        each = [f"{layer} {100 * kept:.1f} %" for kept, layer, _ in lost[:_MOST_NAMED]]
        more = f" and {len(lost) - len(each)} more" if len(lost) > len(each) else ""
        options = f'{source} --data IMAGES --passes "{self.settled}"'
        return (
            f"the accuracy is gone until the network is trained: {names} projected the weights of "
            f"{len(lost)} layer{'s' if len(lost) > 1 else ''}, and of their energy they keep: "
            f"{', '.join(each)}{more}. Train them from here, `mlcnn finetune {options}`, or from "
            f"scratch, `mlcnn train {options}`"
        )

    def save(
        self, path: "str | PathLike[str]", *, functions: bool = False, sparse: bool = False
    ) -> bool:
        """Write the rewritten network to an ``.onnx`` file, in standard operators only.

        Where nothing was rewritten and the network came from a file, this is that file as it was,
        byte for byte.

        Args:
            path: the file; it is replaced at once, when the new one is complete.
            functions: keep the fused operators as functions of the domain ``mlcnn``.
            sparse: keep of weights what is not zero, where that is smaller, see ``graph.save``.

        Returns:
            Whether it is the file that the network came from.

        Raises:
            InputError: the file cannot be written.
        """
        if not (self.changes or sparse) and graph.copy_source(self.original, Path(path)):
            return True
        graph.save(self.model, Path(path), functions=functions, sparse=sparse)
        return False

    def module(self) -> torch.fx.GraphModule:
        """The rewritten network as a torch module, for fine-tuning."""
        return nn.to_module(self.model)

    def update_weights(self, module: torch.nn.Module) -> "Optimized":
        """The rewritten network with weights that were trained since.

        Args:
            module: what ``module()`` gave, trained; or one whose ``state_dict`` has the same names.

        Returns:
            The same rewrite with the new weights. Checks against the original no longer hold: it
            still has its own weights.

        Raises:
            InputError: the module is of another network, or a weight is not finite.
        """
        model = nn.write_weights(module, self.model)
        changes = tuple(replace(change, kept=None) for change in self.changes)
        return replace(
            self, model=model, stages={}, changes=changes, verification=None, network=None
        )

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the rewritten network in ONNX Runtime.

        Args:
            inputs: an array for each input, by name.
        """
        return engines.get("onnxruntime").prepare(self.model).run(dict(inputs))

    def counts(
        self, *, batch: int = 1, input_shape: Sequence[int] | None = None
    ) -> counting.CountReport:
        """Multiplications and additions per layer, before and after."""
        shape = None if input_shape is None else tuple(input_shape)
        return counting.count(self.model, self.original, batch=batch, input_shape=shape)

    def diff(self) -> NetworkDiff:
        """What the passes changed, node by node."""
        return diff_models(self.original, self.model)

    def report(self) -> Page:
        """What ``run`` writes, without what it measures; it opens in a notebook's cell."""
        name = self.original.graph.name or "network"
        return Page(render(summarise(self, Origin(name, name), drawn=True)))

    def show_netron(self, path: "str | PathLike[str] | None" = None) -> Path:
        """Save the rewritten network and open it in Netron, which must be installed.

        Args:
            path: the ``.onnx`` file; one in a new temporary folder by default.

        Returns:
            The file.

        Raises:
            InputError: Netron is not installed, or the file cannot be written.
        """
        require_netron()
        file = Path(tempfile.mkdtemp(), "network.onnx") if path is None else Path(path)
        self.save(file, functions=True)
        show_in_netron(file)
        return file

    def records(self) -> list[dict[str, Any]]:
        """A row for each place that a pass rewrote or left alone, pass by pass."""
        done = [
            {
                "pass": change.pass_name,
                "node": change.nodes[0] if change.nodes else "",
                "rewritten": True,
                "form": change.form,
                "exact": change.exact,
                "reason": change.reason,
            }
            for change in self.changes
        ]
        left = [
            {
                "pass": item.pass_name,
                "node": item.node,
                "rewritten": False,
                "form": None,
                "exact": None,
                "reason": item.reason,
            }
            for item in self.skipped
        ]
        return done + left

    def shown(self) -> Shown:
        """What was rewritten, how, and how much was left alone."""
        rows = tuple(
            (
                change.nodes[0] if change.nodes else "",
                change.pass_name,
                change.form or "",
                "exact" if change.exact else "approximate",
            )
            for change in self.changes
        )
        name = self.original.graph.name or "network"
        title = f"{name}: {len(rows)} places rewritten, {len(self.skipped)} left alone"
        untrained = self.untrained()
        notes = (self.verified,) if untrained is None else (self.verified, f"warning: {untrained}")
        return Shown(title, ("layer", "pass", "form", ""), rows, notes)

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn optimize --json`` prints, apart from the output's path."""
        return {
            "pipeline": self.pipeline,
            "changes": [
                {
                    "pass": change.pass_name,
                    "nodes": list(change.nodes),
                    "form": change.form,
                    "exact": change.exact,
                    "deviation": change.deviation,
                    "kept": change.kept,
                }
                for change in self.changes
            ],
            "skipped": [
                {"pass": item.pass_name, "node": item.node, "reason": item.reason}
                for item in self.skipped
            ],
            "max_error": self.max_error,
            "vacuous": self.vacuous,
            "warnings": [told for told in (self.untrained(),) if told is not None],
            "network": None if self.network is None else self.network.to_json(),
        }
