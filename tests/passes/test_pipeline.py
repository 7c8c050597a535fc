"""Pipelines as text, and what a run promises: replayable, threads apart, nothing changed."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passes.builder import Net
from passes.story import largest_difference

from mlcnn.errors import InputError, PassError
from mlcnn.graph import layer_name, to_proto
from mlcnn.ops import forms
from mlcnn.passes import (
    AUTO,
    KEEP,
    Choice,
    DistributePool,
    FoldBatchNorm,
    FoldConstants,
    Fuse,
    MaxToAverage,
    Pass,
    PassResult,
    Reorder,
    ReorderMax,
    WindowMode,
    pipeline,
)
from mlcnn.workload import ConvLayer

PASSES: tuple[Pass, ...] = (
    FoldConstants(), FoldBatchNorm(), MaxToAverage(), MaxToAverage(WindowMode.KEEP, all=True),
    Reorder(), Reorder(all=True), DistributePool(), ReorderMax(), Fuse(), Fuse(form="box"),
)  # fmt: skip


def _max_pooled() -> ir.Model:
    net = Net()
    return net.model(net.pool(net.op("Relu", net.norm(net.conv(net.x))), op_type="MaxPool"))


def _residual() -> ir.Model:
    net = Net()
    add = net.op("Add", net.norm(net.conv(net.x)), net.x, name="add")
    return net.model(net.op("GlobalAveragePool", net.op("Relu", add, name="relu"), name="pool"))


def _inception() -> ir.Model:
    net = Net("n", 2, 9, 9)
    computed = net.op("Mul", net.weight("raw", 2, 2, 1, 1), 2.0, name="doubled")
    branches = [net.conv(net.x, name="a"), net.conv(net.x, kernel=1, weight=computed, name="b")]
    cat = net.op("Concat", *branches, axis=1, name="cat")
    return net.model(net.pool(cat, 3, 2, pads=[1] * 4))


def _two_layers() -> ir.Model:
    net = Net("n", 2, 16, 16)
    value = net.x
    for name in ("first", "second"):
        value = net.pool(net.conv(value, name=name), name=f"{name}_pool")
    return net.model(value)


MODELS: tuple[Callable[[], ir.Model], ...] = (_max_pooled, _residual, _inception, _two_layers)


class _Fixed:
    """Chooses by the layer's name."""

    def __init__(self, **forms: str) -> None:
        self.forms = forms

    def choose(
        self, layer: ConvLayer | None, candidates: Mapping[str, Callable[[], ir.Model]]
    ) -> Choice:
        assert layer is not None
        return Choice(self.forms[layer.name], "as the test says")


def test_aliases() -> None:
    assert [item.name for item in pipeline.parse("exact")] == [
        "fold-constants", "fold-batch-norm", "distribute-pool", "fuse", "choose",
    ]  # fmt: skip
    assert [item.name for item in pipeline.parse("mlcnn")] == [
        "fold-constants", "fold-batch-norm", "max-to-average", "reorder", "distribute-pool", "fuse",
        "choose",
    ]  # fmt: skip
    assert all(item.exact for item in pipeline.parse("exact"))


def test_alias_within_a_pipeline() -> None:
    assert pipeline.parse("reorder, exact ,fuse{form=box}") == (
        Reorder(), *pipeline.parse("exact"), Fuse(form="box"),
    )  # fmt: skip


def test_registered_passes() -> None:
    assert pipeline.pass_names() == (
        "block-circulant", "choose", "compare-taps", "distribute-pool", "fix-taps",
        "fold-batch-norm", "fold-constants", "fuse", "inline", "max-to-average", "remove-channels",
        "reorder", "reorder-max", "share-kernels",
    )  # fmt: skip


def test_empty_text() -> None:
    assert pipeline.parse("") == pipeline.parse("  ") == ()
    assert pipeline.text(()) == ""


@pytest.mark.parametrize(("given", "parsed"), [
    ("max-to-average{window=keep}", MaxToAverage(WindowMode.KEEP)),
    ("max-to-average{window=keep,all=true}", MaxToAverage(WindowMode.KEEP, all=True)),
    ("max-to-average{ window=stride , all }", MaxToAverage(all=True)),
    ("reorder{all=false}", Reorder()),
    ("reorder{}", Reorder()),
    ("fuse{only=conv1+conv2}", Fuse(only=("conv1", "conv2"))),
    ("fuse{form=expanded}", Fuse(form="expanded")),
    ("fuse{forms=a=box+b=keep}", Fuse(forms="a=box+b=keep")),
])  # fmt: skip
def test_options(given: str, parsed: Pass) -> None:
    assert pipeline.parse(given) == (parsed,)


_LAYER = st.text(st.sampled_from("ab09._/-=+,{}% \u00e9"), min_size=1, max_size=8)
_FORM = st.sampled_from(["box", "expanded", KEEP])


@st.composite
def _passes(draw: st.DrawFn) -> Pass:
    kind = draw(st.sampled_from([
        FoldConstants, FoldBatchNorm, MaxToAverage, Reorder, DistributePool, ReorderMax, Fuse,
    ]))  # fmt: skip
    options = {}
    if kind is MaxToAverage:
        options["window"] = draw(st.sampled_from(WindowMode))
    if kind in {MaxToAverage, Reorder}:
        options["all"] = draw(st.booleans())
    if kind is Fuse:
        options["form"] = draw(st.sampled_from([AUTO, *forms()]))
    if kind is not FoldConstants:
        options["exclude"] = tuple(draw(st.lists(_LAYER, max_size=2)))
    return kind(**options)


@given(st.lists(_passes(), max_size=6))
def test_text_and_parse_are_inverse(passes: list[Pass]) -> None:
    assert pipeline.parse(pipeline.text(passes)) == tuple(passes)


@given(_LAYER, _FORM, _FORM)
@settings(max_examples=40)
def test_replayed_forms_survive_any_layer_name(name: str, form: str, other: str) -> None:
    """Whatever a user's nodes are called: signs of the pipeline's own syntax too."""
    model = _two_layers()
    conv = model.graph[0]
    conv.name = name
    for value in conv.inputs[1:]:
        value.name = value.name.replace(".", "_")
    fuse = Fuse(chooser=_Fixed(**{layer_name(conv): form, "second": other}))
    result = pipeline.run(model, [fuse])
    again = pipeline.run(model, pipeline.parse(result.text))
    assert [(c.nodes, c.form) for c in again.changes] == [(c.nodes, c.form) for c in result.changes]
    assert len(again.changes) == 2 - [form, other].count(KEEP)


KNOWN = (
    "Known passes: block-circulant, choose, compare-taps, distribute-pool, fix-taps, "
    "fold-batch-norm, fold-constants, fuse, inline, max-to-average, remove-channels, reorder, "
    "reorder-max, share-kernels; named pipelines: exact, mlcnn"
)


FUSE_OPTIONS = "Its options: form, forms, only, exclude"
FORM_NAMES = ", ".join(forms())
MESSAGES = {
    "fusee": f"--passes: unknown pass 'fusee'; did you mean 'fuse'? {KNOWN}",
    "reorder,fold-batch": (
        f"--passes: unknown pass 'fold-batch'; did you mean 'fold-batch-norm'? {KNOWN}"
    ),
    "exakt": f"--passes: unknown pass 'exakt'; did you mean 'exact'? {KNOWN}",
    "quux": f"--passes: unknown pass 'quux'. {KNOWN}",
    "reorder,,fuse": f"--passes: unknown pass ''. {KNOWN}",
    "{form=box}": f"--passes: unknown pass ''. {KNOWN}",
    "fuse{frm=box}": f"--passes: fuse has no option 'frm'; did you mean 'form'? {FUSE_OPTIONS}",
    "fuse{xyzzy=1}": f"--passes: fuse has no option 'xyzzy'. {FUSE_OPTIONS}",
    "fuse{chooser=1}": f"--passes: fuse has no option 'chooser'. {FUSE_OPTIONS}",
    "fold-constants{all}": "--passes: fold-constants has no option 'all'. Its options: none",
    "reorder{all=1}": "--passes: reorder: all is true or false, got '1'",
    "max-to-average{window=kep}": (
        "--passes: max-to-average: bad value 'kep' for window: one of keep, stride"
    ),
    "fuse{form=banana}": f"fuse: unknown form 'banana'; known forms: auto, {FORM_NAMES}",
    "fuse{forms=conv=banana}": (
        f"fuse: forms gives 'conv' the form 'banana'; known forms: {FORM_NAMES}, keep"
    ),
    "fuse{forms=box}": f"fuse: forms gives 'box' the form ''; known forms: {FORM_NAMES}, keep",
    "fuse{form=box": "--passes: missing '}' after 'fuse{form=box'",
    "fuse{form=box}reorder": "--passes: a comma is required before 'reorder'",
    "fuse{form=box}}": "--passes: a comma is required before '}'",
    "exact{form=box}": (
        "--passes: exact stands for several passes and takes no options, got 'form=box'; give "
        "them to a pass of fold-constants,fold-batch-norm,distribute-pool,fuse,choose"
    ),
}


@pytest.mark.parametrize("given", MESSAGES)
def test_messages(given: str) -> None:
    with pytest.raises(InputError) as caught:
        pipeline.parse(given)
    assert str(caught.value) == MESSAGES[given]


@given(st.text(st.sampled_from("fuse{}=,+box form\u00e9")))
def test_any_text_parses_or_is_refused(given: str) -> None:
    try:
        passes = pipeline.parse(given)
    except InputError:
        return
    assert pipeline.parse(pipeline.text(passes)) == passes


def test_configure_sets_options_where_a_pass_has_them() -> None:
    chooser = _Fixed()
    passes = pipeline.configure(
        pipeline.parse("fold-constants,max-to-average,reorder,fuse"),
        only=("a",), exclude=("b",), chooser=chooser, form="box", window=WindowMode.KEEP, all=None,
    )  # fmt: skip
    selected = {"only": ("a",), "exclude": ("b",)}
    assert passes == (
        FoldConstants(), MaxToAverage(WindowMode.KEEP, **selected), Reorder(**selected),
        Fuse(form="box", **selected),
    )  # fmt: skip
    assert passes[-1].chooser is chooser


def test_configure_leaves_what_is_not_given() -> None:
    passes = pipeline.parse("fuse{form=box,only=a}")
    assert pipeline.configure(passes) == passes


def test_only_and_exclude_in_a_run() -> None:
    passes = pipeline.parse("fuse{form=box}")
    changed = {
        options: [c.nodes[0] for c in pipeline.run(_two_layers(), configured).changes]
        for options, configured in {
            "only": pipeline.configure(passes, only=("second",)),
            "exclude": pipeline.configure(passes, exclude=("second",)),
        }.items()
    }
    assert changed == {"only": ["second"], "exclude": ["first"]}


@pytest.mark.parametrize("build", MODELS)
@pytest.mark.parametrize("item", PASSES, ids=lambda item: pipeline.text([item]))
def test_a_pass_never_changes_its_argument(build: Callable[[], ir.Model], item: Pass) -> None:
    model = build()
    before = to_proto(model).SerializeToString(deterministic=True)
    values = {id(v.const_value) for v in model.graph.initializers.values()}
    result = item.apply(model)
    assert result.model is not model
    assert to_proto(model).SerializeToString(deterministic=True) == before
    assert {id(v.const_value) for v in model.graph.initializers.values()} == values


@pytest.mark.parametrize("build", MODELS)
@pytest.mark.parametrize("passes", ["exact", "mlcnn", "reorder-max", ""])
def test_a_run_never_changes_its_argument(build: Callable[[], ir.Model], passes: str) -> None:
    model = build()
    before = to_proto(model).SerializeToString(deterministic=True)
    result = pipeline.run(model, pipeline.parse(passes))
    assert result.model is not model
    assert to_proto(model).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("build", MODELS)
def test_the_same_run_gives_the_same_network(build: Callable[[], ir.Model]) -> None:
    first, second = (pipeline.run(build(), pipeline.parse("mlcnn")) for _ in range(2))
    assert to_proto(first.model) == to_proto(second.model)
    assert first.text == second.text


def test_threads_do_not_disturb_each_other() -> None:
    model, passes = _inception(), pipeline.parse("mlcnn")
    expected = to_proto(pipeline.run(model, passes).model)
    before = to_proto(model).SerializeToString(deterministic=True)
    barrier = threading.Barrier(4)

    def work(_: int) -> list:
        barrier.wait()
        return [to_proto(pipeline.run(model, passes).model) for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        results = [proto for protos in pool.map(work, range(4)) for proto in protos]
    assert len(results) == 20
    assert all(proto == expected for proto in results)
    assert to_proto(model).SerializeToString(deterministic=True) == before


def test_the_network_carries_the_pipeline_that_made_it() -> None:
    result = pipeline.run(_two_layers(), pipeline.parse("fold-batch-norm,fuse{form=expanded}"))
    assert result.text == "fold-batch-norm,fuse{form=expanded}"
    assert result.model.metadata_props["mlcnn.pipeline"] == result.text
    stored = {prop.key: prop.value for prop in to_proto(result.model).metadata_props}
    assert stored["mlcnn.pipeline"] == result.text


def test_chosen_forms_are_replayed() -> None:
    """A measurement is not repeated: the text says what it chose, also what it left alone."""
    model = _two_layers()
    fuse = Fuse(chooser=_Fixed(first=KEEP, second="box"))
    result = pipeline.run(model, [fuse])
    assert result.text == "fuse{forms=second=box+first=keep}"
    assert [(c.nodes, c.form, c.reason) for c in result.changes] == [
        (("second", "second_pool"), "box", "as the test says"),
    ]
    again = pipeline.run(model, pipeline.parse(result.text))
    assert to_proto(again.model) == to_proto(result.model)
    assert [skipped.reason for skipped in again.skipped] == ["left as it is: chosen by the user"]


def test_every_change_and_reason_is_in_the_result() -> None:
    result = pipeline.run(_two_layers(), pipeline.parse("fuse{only=first,form=box},reorder"))
    assert [stage.applied.name for stage in result.stages] == ["fuse", "reorder"]
    assert [change.nodes for change in result.changes] == [("first", "first_pool")]
    assert [(s.pass_name, s.node, s.reason) for s in result.skipped] == [
        ("fuse", "second", "not among the nodes of --only"),
    ]


def test_stages_hold_the_networks_in_between() -> None:
    model = _max_pooled()
    result = pipeline.run(model, pipeline.parse("max-to-average,reorder,fuse{form=box}"))
    assert result.stages[0].before is model
    assert [stage.before for stage in result.stages[1:]] == [
        stage.result.model for stage in result.stages[:-1]
    ]
    # From the reordered network on, everything is exact.
    assert largest_difference(result.stages[2].before, result.model) <= 1e-5


def test_progress_is_told_before_every_pass() -> None:
    told: list[tuple[str, int, int]] = []
    pipeline.run(_two_layers(), pipeline.parse("exact"), progress=lambda *step: told.append(step))
    assert told == [
        (name, 0, 0)
        for name in ("fold-constants", "fold-batch-norm", "distribute-pool", "fuse", "choose")
    ]


def test_an_invalid_network_is_blamed_on_its_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    apply = ReorderMax.apply

    def broken(self: ReorderMax, model: ir.Model) -> PassResult:
        result = apply(self, model)
        next(iter(result.model.graph)).op_type = "NoSuchOperator"
        return result

    monkeypatch.setattr(ReorderMax, "apply", broken)
    net = Net()
    relu = net.op("Relu", net.x, name="relu")
    model = net.model(net.pool(relu, op_type="MaxPool"))
    with pytest.raises(PassError) as caught:
        pipeline.run(model, [ReorderMax()])
    assert str(caught.value).startswith(
        "reorder-max produced an invalid network: the network is not valid ONNX: "
    )
    assert "NoSuchOperator" in str(caught.value)
