"""Forms of structured layers that make no engine slower than the layer was before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from mlcnn.passes import KEEP, STRUCTURE_KEY, Choice, Chooser
from mlcnn.workload import ConvLayer

__all__ = ["NeverSlower", "Plain"]

_PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Plain:
    """Chooses the form that computes a layer as if it had no structure: as fast as it was.

    Attributes:
        forms: names of such forms; a layer that has none of them stays as it is for that.
    """

    forms: frozenset[str]

    def choose(
        self, layer: ConvLayer | None, candidates: Mapping[str, Callable[[], ir.Model]]
    ) -> Choice:
        """Choose among ``candidates``; see ``mlcnn.passes.Chooser``."""
        del layer
        form = next((name for name in candidates if name in self.forms), KEEP)
        return Choice(form, "as fast as it was without the structure")


@dataclass(frozen=True, slots=True)
class NeverSlower:
    """Chooses the form that the first engine runs fastest, of those that slow down no other one.

    Attributes:
        choosers: one for each engine; the first one's engine is to be fast.
        plain: names the form that is as fast as the layer was.
    """

    choosers: tuple[Chooser, ...]
    plain: Plain

    def choose(
        self, layer: ConvLayer | None, candidates: Mapping[str, Callable[[], ir.Model]]
    ) -> Choice:
        """Choose among ``candidates``; see ``mlcnn.passes.Chooser``."""
        plain = self.plain.choose(layer, candidates).form
        first, *others = self.choosers
        dense = _told(candidates[plain], candidates[KEEP])
        left = {name: build for name, build in candidates.items() if name not in {plain, KEEP}}
        passed: list[str] = []
        while left:
            choice = first.choose(layer, {KEEP: dense, **left})
            if choice.form == KEEP:
                return Choice(plain, "; ".join((choice.reason, *passed)))
            form = left.pop(choice.form)
            slower = next((told for o in others if (told := _slower(o, layer, form, dense))), None)
            if slower is None:
                return Choice(choice.form, "; ".join((choice.reason, *passed)))
            passed.append(f"not {choice.form}, since without the structure it is {slower}")
        return Choice(plain, "; ".join(passed) or "there is no other form")


def _told(build: Callable[[], ir.Model], kept: Callable[[], ir.Model]) -> Callable[[], ir.Model]:
    """The plain layer, which says of which structure it is the plain one, as the kept one does."""

    def made() -> ir.Model:
        model, structure = build(), kept().metadata_props.get(STRUCTURE_KEY)
        if structure is not None:
            model.metadata_props[STRUCTURE_KEY] = structure
        return model

    return made


def _slower(
    chooser: Chooser,
    layer: ConvLayer | None,
    form: Callable[[], ir.Model],
    plain: Callable[[], ir.Model],
) -> str | None:
    """By how much the plain layer is surely faster than a form; None where it is not."""
    choice = chooser.choose(layer, {KEEP: form, _PLAIN: plain})
    return choice.reason if choice.form == _PLAIN else None
