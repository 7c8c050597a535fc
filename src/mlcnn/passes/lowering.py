"""Layers of methods become the form that is best for each: by measurement or by estimate.

One piece serves every method: choosing, refusing, emitting, verifying and replaying ask a form
what every form answers, and know none by name.
"""

import abc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Self
from urllib.parse import quote, unquote

import onnx_ir as ir

from mlcnn.errors import InputError
from mlcnn.graph import (
    QUANTIZE,
    Rounding,
    clone,
    extract,
    infer_shapes,
    is_quantiser,
    is_standard,
    read_rounding,
)
from mlcnn.ops import Convolution, Emitter, Form, Pooling, find_form, forms
from mlcnn.passes.base import Change, PassResult, Skipped
from mlcnn.passes.choice import KEEP, STRUCTURE_KEY, Choice, Chooser, CostModel
from mlcnn.passes.pointwise import pointwise_block
from mlcnn.passes.rewriting import emitter_for, install
from mlcnn.passes.skeleton import Candidate, SitePass, names
from mlcnn.workload import DENSE, RECORD_KEY, Record, read_record

__all__ = ["AUTO", "Found", "Lowering", "with_activation"]

AUTO = "auto"
_LEFT = "left as it is: "
_SHORT = 2  # bytes of the float types whose range is small enough to matter


@dataclass(frozen=True, slots=True)
class Found:
    """A layer that can be lowered.

    Attributes:
        convolution: the layer.
        pooling: the average pool behind it, if it is fused with one.
        nodes: layer names of all its nodes.
        candidates: the forms to choose among.
        rounding: how the layer's output is rounded in front of the pool; no more once it is fused.
    """

    convolution: Convolution
    pooling: Pooling | None
    nodes: tuple[str, ...]
    candidates: Sequence[Form]
    rounding: Rounding | None = None

    @property
    def output(self) -> ir.Value:
        """What the layer gives."""
        node = self.convolution.node if self.pooling is None else self.pooling.node
        return node.outputs[0]

    @property
    def source(self) -> ir.Value:
        """What the layer reads."""
        value = self.convolution.node.inputs[0]
        if value is None:
            raise ValueError("a layer without input")
        return value


def _emit(model: ir.Model, form: Form, found: Found) -> Emitter:
    """Replace the layer's output in ``model`` by the form."""
    convolution, pooling, output = found.convolution, found.pooling, found.output
    emitter, before = emitter_for(model, convolution), read_record(convolution.node)
    known = before if isinstance(before, Record) else None
    outer = known if known is not None and known.is_pooled and pooling is None else None
    record = _record(found, form, known) if outer is None else replace(outer, inner=form.name)
    emitter.metadata[RECORD_KEY] = record.text()
    result = form.emit(emitter, convolution, pooling)
    if pooling is not None and not pooling.keepdims:
        axes = emitter.integers((2, 3), "axes")
        result = emitter.op("Squeeze", [result, axes])
    if outer is not None:
        _retell(model, convolution.node, record)
    else:
        _forget(model, convolution.node)
    install(model, emitter, output, result, anchor=convolution.node)
    return emitter


def _record(found: Found, form: Form, known: Record | None) -> Record:
    """What a layer is from now on; of what it was before, what is known."""
    convolution, pooling = found.convolution, found.pooling
    return Record(
        site=found.output.name or "",
        geometry=replace(convolution.nest, pool=None if pooling is None else pooling.pool),
        form=form.name,
        global_pool=pooling is not None and pooling.pool is None,
        weights=convolution.weights,
        operator="Conv" if known is None else known.operator,
        arithmetic=convolution.arithmetic,
        parameters=convolution.parameters if known is None else known.parameters,
        weight_bytes=convolution.weight_bytes if known is None else known.weight_bytes,
        density=convolution.density if known is None else known.density,
    )


def _retell(model: ir.Model, node: ir.Node, record: Record) -> None:
    """Give all of the layer that ``node`` is a part of another record."""
    text = node.metadata_props.get(RECORD_KEY)
    for other in model.graph:
        if other.metadata_props.get(RECORD_KEY) == text:
            other.metadata_props[RECORD_KEY] = record.text()


def _forget(model: ir.Model, node: ir.Node) -> None:
    """Drop the record of the layer that ``node`` was a part of: what is left of it is none."""
    text = node.metadata_props.get(RECORD_KEY)
    for other in model.graph if text is not None else ():
        if other.metadata_props.get(RECORD_KEY) == text:
            del other.metadata_props[RECORD_KEY]


def _rounded(output: ir.Value) -> ir.Value | None:
    """What is left of a value behind the pair of nodes that rounds it, if there is one."""
    quantisers = [use.node for use in output.uses() if is_quantiser(use.node, QUANTIZE)]
    readers = [use.node.outputs[0] for node in quantisers for use in node.outputs[0].uses()]
    rounding = read_rounding(readers[0]) if len(readers) == 1 else None
    return readers[0] if rounding is not None else None


def with_activation(output: ir.Value) -> ir.Value:
    """The value behind the activation that follows, since engines fuse it into a convolution."""
    consumers = {use.node for use in output.uses()}
    if output.is_graph_output() or len(consumers) != 1:
        return output
    consumer = next(iter(consumers))
    candidate = _rounded(output) or consumer.outputs[0]
    block = pointwise_block(candidate)
    return candidate if block is not None and block.source is output else output


def _steps(number: float) -> str:
    """How many steps of the output a difference of so many can come to when it is rounded."""
    whole = math.ceil(number)
    return f", {whole} step{'s' if whole > 1 else ''} of its output"


def _told(reason: str, found: Found) -> str:
    """Why a form was chosen, and what is said of a quantised layer besides."""
    parts = [reason]
    if found.rounding is not None:
        behind = _rounded(found.output)
        last = None if behind is None else read_rounding(behind)
        steps = "" if last is None else _steps(found.rounding.step / 2 / last.step)
        parts.append(
            f"rounded behind the pool only: it differs by half a step of {found.rounding.step:.3g} "
            f"at most{steps}, where no value is cut off"
        )
    if found.convolution.bits is not None:
        parts.append(
            f"the weights stay {found.convolution.bits}-bit codes, and the convolution runs in "
            "float: means of codes are no codes"
        )
    return "; ".join(parts)


def _kept(site: ir.Model, found: Found) -> ir.Model:
    """A copy of a layer by itself, as it is."""
    model = clone(site)
    if found.pooling is None and found.convolution.weights != DENSE:
        model.metadata_props[STRUCTURE_KEY] = str(found.convolution.weights)
    return model


def _parse_forms(name: str, text: str) -> dict[str, str]:
    items = [item.partition("=") for item in text.split("+") if item]
    pairs = [(unquote(layer), form) for layer, _, form in items]
    for layer, form in pairs:
        if form != KEEP and find_form(form) is None:
            raise InputError(
                f"{name}: forms gives {layer!r} the form {form!r}; known forms: "
                f"{', '.join([*forms(), KEEP])}"
            )
    return dict(pairs)


@dataclass(frozen=True, slots=True)
class Lowering(SitePass):
    """A pass that gives layers a form. What it looks for is up to the pass.

    Attributes:
        form: ``auto`` chooses per layer and leaves alone what would cost more than it saves; or
            the name of a form.
        forms: ``layer=form+layer=form``: forms of single layers, as a replayed pipeline has them;
            ``keep`` leaves one alone. Signs that separate stand as in a URL (``%3D`` for ``=``).
        only: layer names; touch only layers with one of them.
        exclude: layer names; leave layers with one of them alone.
        chooser: what ``auto`` asks.
    """

    exact: ClassVar[bool] = True
    shared: ClassVar[frozenset[str]] = frozenset({"form"})
    form: str = AUTO
    forms: str = ""
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    chooser: Chooser = field(default_factory=CostModel, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.form != AUTO and find_form(self.form) is None:
            raise InputError(
                f"{self.name}: unknown form {self.form!r}; known forms: "
                f"{', '.join([AUTO, *forms()])}"
            )
        _parse_forms(self.name, self.forms)

    @abc.abstractmethod
    def find(self, node: ir.Node) -> Found | Skipped | str | None:
        """The layer of a node, why the pass leaves it, or None where it has nothing to say."""

    def look(self, model: ir.Model, node: ir.Node) -> Candidate | Skipped | str | None:
        """The layer of a node with the forms to choose among."""
        found = self.find(node)
        if not isinstance(found, Found):
            return found
        return Candidate(found.nodes, found.nodes[0], partial(self._lower, model, found))

    def _lower(self, model: ir.Model, found: Found) -> Change | str:
        given = _parse_forms(self.name, self.forms).get(found.convolution.name)
        known = {form.name for form in found.candidates}
        asked = given or (self.form if self.form in known else None)
        if asked is None:
            site = self._alone(model, found)
            choice = self._choose(site, found, site)
        else:
            choice = Choice(asked, "chosen by the user")
        if choice.form == KEEP:
            return f"{_LEFT}{choice.reason}"
        form = next((form for form in found.candidates if form.name == choice.form), None)
        if form is None:
            return f"form {choice.form} does not apply: it is none of this layer's"
        refusal = form.refuses(found.convolution, found.pooling) or self._imprecise(
            model, form, found
        )
        if refusal is not None:
            return f"form {form.name} does not apply: {refusal}"
        change = Change(
            self.name,
            found.nodes,
            exact=True,
            form=form.name,
            inputs=names(found.source),
            outputs=names(found.output),
            reason=_told(choice.reason, found),
            deviation=0.0 if found.rounding is None else found.rounding.step / 2,
        )
        _emit(model, form, found)
        return change

    def _alone(self, model: ir.Model, found: Found) -> ir.Model:
        """The layer cut out of the network, the activation behind it included.

        With what rounds its input, too: engines compute on codes only between such pairs.
        """
        output = with_activation(found.output)
        rounding = read_rounding(found.source)
        source = found.source if rounding is None else rounding.source
        return extract(model, [source.name or ""], [output.name or ""])

    def _imprecise(
        self, model: ir.Model, form: Form, found: Found, *, alone: bool = False
    ) -> str | None:
        """Why the form's weights lose their precision; None where the type has range enough."""
        dtype = found.convolution.weight.dtype
        if dtype is None or dtype.itemsize > _SHORT:
            return None
        site = model if alone else self._alone(model, found)
        return self._rewritten(site, form)[1].imprecise

    def _rewritten(self, site: ir.Model, form: Form) -> tuple[ir.Model, Emitter]:
        """A copy of a layer by itself in one form, and the emitter that made it."""
        model = clone(site)
        layers = map(self.find, self.nodes(model))
        found = next(layer for layer in layers if isinstance(layer, Found))
        return model, _emit(model, form, found)

    def _candidate(self, site: ir.Model, form: Form) -> ir.Model:
        """A copy of a layer by itself, in one form."""
        model, _ = self._rewritten(site, form)
        infer_shapes(model)
        return model

    def _choose(self, site: ir.Model, found: Found, plain: ir.Model) -> Choice:
        """The form for a layer by itself, or ``plain`` in its place."""
        taking = [
            form
            for form in found.candidates
            if form.refuses(found.convolution, found.pooling) is None
            and self._imprecise(site, form, found, alone=True) is None
        ]
        candidates: dict[str, Callable[[], ir.Model]] = {
            form.name: partial(self._candidate, site, form) for form in taking
        }
        # The first of equal ones is taken: what is there, unless that runs an operator's body.
        kept: dict[str, Callable[[], ir.Model]] = {KEEP: partial(_kept, plain, found)}
        operator = plain is site and not is_standard(found.convolution.node)
        candidates = candidates | kept if operator else kept | candidates
        pooling = found.pooling
        if pooling is not None and pooling.pool is None:
            return self.chooser.choose(None, candidates)
        layer = found.convolution.layer(None if pooling is None else pooling.pool)
        return self.chooser.choose(layer, candidates)

    def replay(self, result: PassResult) -> Self:
        """The same pass with the choice for every layer of ``result`` written down."""
        chosen = [(change.nodes[0], change.form) for change in result.changes]
        chosen += [(s.node, KEEP) for s in result.skipped if s.reason.startswith(_LEFT)]
        text = "+".join(f"{quote(name, safe='/:@')}={form}" for name, form in chosen)
        return replace(self, forms=text) if self.form == AUTO and text else self

    def single(self, change: Change) -> Self:
        """The same pass for the one layer of ``change``, in the form that was chosen."""
        return replace(self, form=change.form or self.form, forms="", only=(), exclude=())
