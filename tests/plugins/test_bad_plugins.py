"""Plug-ins that are broken, doubled, or no plug-ins; passes that lack what they need."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir
import pytest
from passes.builder import Net

from mlcnn.errors import InputError
from mlcnn.ops import Method, methods, registry
from mlcnn.passes import PassResult, language, pipeline
from mlcnn.passes.context import Context


class Entry(EntryPoint):
    """An entry point whose object is at hand."""

    def __init__(self, name: str, gives: Any, value: str = "some.package:thing") -> None:
        super().__init__(name, value, "mlcnn.tests")
        vars(self)["gives"] = gives

    def load(self) -> Any:
        given = vars(self)["gives"]
        if isinstance(given, Exception):
            raise given
        return given


@dataclass(frozen=True)
class Plain:
    """A pass that does nothing."""

    name: ClassVar[str] = "plain"
    exact: ClassVar[bool] = True
    size: int
    share: float | None = None

    def apply(self, model: ir.Model) -> PassResult:
        return PassResult(model)


@dataclass(frozen=True)
class Hungry:
    """A pass that needs a calibration set."""

    name: ClassVar[str] = "hungry"
    exact: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"data"})

    def apply(self, model: ir.Model, context: Context) -> PassResult:
        assert context.data is not None
        context.progress(1, 2)
        model.metadata_props["batches"] = f"{len(context.data)} of seed {context.seed}"
        return PassResult(model)


class Install:
    """Replaces the plug-ins that are there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch

    def __call__(self, *entries: Entry) -> None:
        for module in (language, registry):
            self.monkeypatch.setattr(module, "entry_points", lambda **_: list(entries))
        language._registry.cache_clear()
        registry.methods.cache_clear()


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    yield Install(monkeypatch)
    language._registry.cache_clear()
    registry.methods.cache_clear()


BROKEN = Entry("broken", ImportError("no module named 'gone'"))


def test_a_broken_one_is_left_out_with_a_warning(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install(BROKEN)
    assert "fuse" in pipeline.pass_names()
    assert "average-pool" in methods()
    for kind in ("pass", "method"):
        assert f"{kind} 'broken' (some.package:thing) is left out: no module named" in caplog.text


@pytest.mark.parametrize(("group", "gives"), [("passes", Plain), ("methods", Method("plain"))])
def test_two_of_one_name(install: Install, group: str, gives: object) -> None:
    install(Entry("plain", gives, "one:Plain"), Entry("plain", _another(gives), "other:Plain"))
    with pytest.raises(InputError) as caught:
        _known(group)
    told = str(caught.value)
    kind = {"passes": "pass", "methods": "method"}[group]
    assert told.startswith(f"two plug-ins give a {kind} 'plain': ")
    assert "one:Plain and other:Plain; remove one of them" in told


def _another(gives: object) -> object:
    return Method("plain", summary="another") if isinstance(gives, Method) else Hungry


def _known(group: str) -> object:
    return pipeline.pass_names() if group == "passes" else methods()


@pytest.mark.parametrize("group", ["passes", "methods"])
def test_what_is_none(install: Install, group: str) -> None:
    install(Entry("plain", dict))
    with pytest.raises(InputError, match=f"entry point 'plain' of mlcnn.{group}"):
        _known(group)


def test_two_methods_with_forms_of_one_name(install: Install) -> None:
    box = methods()["average-pool"].forms[0]
    install(Entry("other", Method("other", forms=(box,))))
    with pytest.raises(InputError, match="'average-pool' and 'other' both have 'box'"):
        methods()


def test_options_are_typed_and_may_be_required(install: Install) -> None:
    install(Entry("plain", Plain))
    assert pipeline.parse("plain{size=3}") == (Plain(3),)
    assert pipeline.parse("plain{size=3,share=0.5}") == (Plain(3, 0.5),)
    assert pipeline.parse("plain{size=3,share=none}") == (Plain(3),)
    assert pipeline.text(pipeline.parse("plain{size=3,share=0.5}")) == "plain{size=3,share=0.5}"
    for text, message in {
        "plain": "plain needs its option size: plain{size=...}",
        "plain{size=x}": "plain: bad value 'x' for size: Input should be a valid integer",
        "plain{size=1,sice=2}": "plain has no option 'sice'; did you mean 'size'?",
    }.items():
        with pytest.raises(InputError) as caught:
            pipeline.parse(text)
        assert message in str(caught.value)


def test_one_option_of_one_pass_is_set() -> None:
    passes = pipeline.parse("fold-batch-norm,fuse")
    (_, fuse) = pipeline.configure(passes, settings=["fuse.form=box"])
    assert fuse.form == "box"
    for setting, message in {
        "fuse.form": "--set fuse.form: pass.option=value is required",
        "fuze.form=box": "of a pass of the pipeline (fold-batch-norm, fuse); did you mean 'fuse'?",
        "fuse.from=box": "fuse has no option 'from'; did you mean 'form'?",
    }.items():
        with pytest.raises(InputError) as caught:
            pipeline.configure(passes, settings=[setting])
        assert message in str(caught.value)


def _model() -> ir.Model:
    net = Net()
    return net.model(net.conv(net.x))


def test_a_pass_gets_what_it_needs_or_the_work_does_not_begin() -> None:
    with pytest.raises(InputError) as caught:
        pipeline.run(_model(), [Hungry()])
    assert str(caught.value) == "pass hungry needs data and got none: give labelled images (--data)"
    told: list[tuple[str, int, int]] = []
    result = pipeline.run(
        _model(),
        [Hungry()],
        context=Context(data=[{"x": np.zeros((1, 2, 8, 8), np.float32)}], seed=7),
        progress=lambda *step: told.append(step),
    )
    assert result.model.metadata_props["batches"] == "1 of seed 7"
    assert ("hungry", 1, 2) in told


def test_every_stage_can_be_looked_at() -> None:
    seen: list[str] = []
    passes = pipeline.parse("exact")
    pipeline.run(_model(), passes, on_stage=lambda stage: seen.append(stage.applied.name))
    assert seen == [item.name for item in passes]
