"""``fuse``: convolution and average pool become one operator; exact ([MLCNN] section IV, Eq. 3)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar
from urllib.parse import quote, unquote

import onnx_ir as ir

from mlcnn.errors import InputError
from mlcnn.graph import clone, extract, infer_shapes, layer_name
from mlcnn.ops import FORMS, POOL_OPERATORS, Convolution, Emitter, Form, Pooling
from mlcnn.passes.base import Change, PassResult, Skipped
from mlcnn.passes.choice import KEEP, Choice, Chooser, CostModel
from mlcnn.passes.pointwise import pointwise_block
from mlcnn.passes.rewriting import emitter_for, install
from mlcnn.passes.sites import Selection, Site, beyond_reach, find_site, is_moved, pools
from mlcnn.workload import RECORD_KEY, Record

__all__ = ["AUTO", "Fuse"]

AUTO = "auto"
_LEFT = "left as it is: "
_SHORT = 2  # bytes of the float types whose range is small enough to matter


def _emit(model: ir.Model, form: Form, convolution: Convolution, pooling: Pooling) -> Emitter:
    """Replace the pool's output in ``model`` by the fused form."""
    output = pooling.node.outputs[0]
    emitter = emitter_for(model, convolution)
    emitter.metadata[RECORD_KEY] = Record(
        site=output.name or "",
        geometry=replace(convolution.nest, pool=pooling.pool),
        form=form.name,
        global_pool=pooling.pool is None,
    ).text()
    result = form.emit(emitter, convolution, pooling)
    if not pooling.keepdims:
        axes = emitter.integers((2, 3), "axes")
        result = emitter.op("Squeeze", [result, axes])
    install(model, emitter, output, result, anchor=convolution.node)
    return emitter


def _with_activation(output: ir.Value) -> ir.Value:
    """The value behind the activation that follows, since engines fuse it into a convolution."""
    consumers = {use.node for use in output.uses()}
    if output.is_graph_output() or len(consumers) != 1:
        return output
    candidate = next(iter(consumers)).outputs[0]
    block = pointwise_block(candidate)
    return candidate if block is not None and block.source is output else output


def _alone(model: ir.Model, convolution: Convolution, pooling: Pooling) -> ir.Model:
    """The site cut out of the network, the activation behind it included."""
    source = convolution.node.inputs[0]
    output = _with_activation(pooling.node.outputs[0])
    return extract(model, [(source.name if source else None) or ""], [output.name or ""])


def _rewritten(site: ir.Model, form: Form) -> tuple[ir.Model, Emitter]:
    """A copy of the extracted site in one form, and the emitter that made it."""
    model = clone(site)
    found = next(
        found
        for node in pools(model, POOL_OPERATORS)
        if not isinstance(found := find_site(node), str) and found.adjacent
    )
    return model, _emit(model, form, found.root.convolutions[0], found.pooling)


def _candidate(site: ir.Model, form: Form | None) -> ir.Model:
    """A copy of the extracted site, in one form; as it is for None."""
    if form is None:
        return clone(site)
    model, _ = _rewritten(site, form)
    infer_shapes(model)
    return model


def _refusal(site: ir.Model, form: Form, convolution: Convolution, pooling: Pooling) -> str | None:
    """Why ``form`` cannot compute the pair, or not in the precision of its weights."""
    refusal = form.refuses(convolution, pooling)
    dtype = convolution.weight.dtype
    if refusal is not None or dtype is None or dtype.itemsize > _SHORT:
        return refusal
    return _rewritten(site, form)[1].imprecise


def _parse_forms(text: str) -> dict[str, str]:
    items = [item.partition("=") for item in text.split("+") if item]
    pairs = [(unquote(name), form) for name, _, form in items]
    for name, form in pairs:
        if form not in {*FORMS, KEEP}:
            raise InputError(
                f"fuse: forms gives {name!r} the form {form!r}; known forms: "
                f"{', '.join([*FORMS, KEEP])}"
            )
    return dict(pairs)


@dataclass(frozen=True, slots=True)
class Fuse:
    """Fuse every convolution with the average pool directly behind it.

    Attributes:
        form: ``auto`` chooses per site and leaves alone what would cost more than it saves;
            or one of ``box``, ``expanded``, ``pool-first``, ``matvec``.
        forms: ``layer=form+layer=form``: forms of single layers, as a replayed pipeline has them;
            ``keep`` leaves one alone. Signs that separate stand as in a URL (``%3D`` for ``=``).
        only: layer names; touch only sites with one of them.
        exclude: layer names; leave sites with one of them alone.
        chooser: what ``auto`` asks.
    """

    name: ClassVar[str] = "fuse"
    exact: ClassVar[bool] = True
    form: str = AUTO
    forms: str = ""
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    chooser: Chooser = field(default_factory=CostModel, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.form not in {AUTO, *FORMS}:
            raise InputError(
                f"fuse: unknown form {self.form!r}; known forms: {', '.join([AUTO, *FORMS])}"
            )
        _parse_forms(self.forms)

    def apply(self, model: ir.Model) -> PassResult:
        """Return the network with fused operators."""
        model = clone(model)
        changes: list[Change] = []
        operators = POOL_OPERATORS - {"MaxPool"}
        skipped = [Skipped(self.name, *inner) for inner in beyond_reach(model, operators)]
        selection = Selection(self.only, self.exclude)
        for node in pools(model, operators):
            site = find_site(node)
            if isinstance(site, str) and is_moved(node):
                continue
            name = layer_name(node) if isinstance(site, str) else site.name
            reason = site if isinstance(site, str) else selection.refuses(site.nodes)
            if isinstance(site, str) or reason is not None:
                skipped.append(Skipped(self.name, name, reason or ""))
                continue
            outcome = self._fuse(model, site)
            if isinstance(outcome, str):
                skipped.append(Skipped(self.name, name, outcome))
            else:
                changes.append(outcome)
        if changes:
            infer_shapes(model)
        return PassResult(model, tuple(changes), tuple(skipped))

    def _fuse(self, model: ir.Model, site: Site) -> Change | str:
        if not site.adjacent:
            way = "distribute-pool (exact)" if site.root.exact else "reorder (approximate)"
            return f"the pool does not stand directly behind the convolution: {way} moves it there"
        convolution, pooling = site.root.convolutions[0], site.pooling
        alone = _alone(model, convolution, pooling)
        choice = self._choose(alone, convolution, pooling)
        if choice.form == KEEP:
            return f"{_LEFT}{choice.reason}"
        form = FORMS[choice.form]
        refusal = _refusal(alone, form, convolution, pooling)
        if refusal is not None:
            return f"form {form.name} does not apply: {refusal}"
        source, output = convolution.node.inputs[0], pooling.node.outputs[0]
        change = Change(
            self.name,
            site.nodes,
            exact=True,
            form=form.name,
            inputs=((source.name if source else None) or "",),
            outputs=(output.name or "",),
            reason=choice.reason,
        )
        _emit(model, form, convolution, pooling)
        return change

    def _choose(self, site: ir.Model, convolution: Convolution, pooling: Pooling) -> Choice:
        given = _parse_forms(self.forms).get(convolution.name)
        if given is not None or self.form != AUTO:
            return Choice(given or self.form, "chosen by the user")
        forms = [f for f in FORMS.values() if _refusal(site, f, convolution, pooling) is None]
        candidates: Mapping[str, Callable[[], ir.Model]] = {
            KEEP: partial(_candidate, site, None),
            **{form.name: partial(_candidate, site, form) for form in forms},
        }
        return self.chooser.choose(convolution.layer(pooling.pool), candidates)

    def replay(self, result: PassResult) -> "Fuse":
        """The same pass with the choice for every layer of ``result`` written down."""
        chosen = [(change.nodes[0], change.form) for change in result.changes]
        chosen += [(s.node, KEEP) for s in result.skipped if s.reason.startswith(_LEFT)]
        forms = "+".join(f"{quote(name, safe='/:@')}={form}" for name, form in chosen)
        return replace(self, forms=forms) if self.form == AUTO and forms else self
