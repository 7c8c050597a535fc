"""Forms that are fast in one engine and slower than the layer was in none: no time is measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir
import pytest
from passes.builder import Net

from mlcnn import engines, graph, load
from mlcnn.engines import NeverSlower, Plain
from mlcnn.engines.native import Native
from mlcnn.graph import constant
from mlcnn.passes import KEEP, STRUCTURE_KEY, Choice, Choose, ShareKernels
from mlcnn.workload import ConvLayer

PLAIN = Plain(frozenset({"rebuilt"}))


@dataclass
class Clock:
    """A chooser on a machine where each form takes a known time; it remembers what it was asked.

    Forms are told apart by the names that their small networks have.
    """

    ms: Mapping[str, float]
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def choose(
        self, layer: ConvLayer | None, candidates: Mapping[str, Callable[[], ir.Model]]
    ) -> Choice:
        del layer
        names = {name: build().graph.name for name, build in candidates.items()}
        self.asked.append(tuple(str(name) for name in names.values()))
        times = {name: self.ms[str(form)] for name, form in names.items()}
        best = min(times, key=times.__getitem__)
        if times[KEEP] <= 1.03 * times[best]:
            return Choice(KEEP, "no gain")
        return Choice(best, f"{times[KEEP] / times[best]:.2f}x")


def candidates(*forms: str) -> dict[str, Callable[[], ir.Model]]:
    def build(name: str) -> Callable[[], ir.Model]:
        def made() -> ir.Model:
            model = Net().model()
            model.graph.name = name
            if name == "body":
                model.metadata_props[STRUCTURE_KEY] = "shared-kernels(basis=5)"
            return model

        return made

    return {**{name: build(name) for name in forms}, KEEP: build("body")}


SPLIT = {"two-stage": 3.0, "split": 1.0, "rebuilt": 4.0}


@pytest.mark.parametrize(
    ("others", "form", "told"),
    [
        ([], "split", "4.00x"),
        ([{"two-stage": 4, "split": 4, "rebuilt": 4}], "split", "4.00x"),
        # A form that is slower by less than what counts is taken.
        ([{"two-stage": 4, "split": 4.1, "rebuilt": 4}], "split", "4.00x"),
        ([{"two-stage": 4, "split": 8, "rebuilt": 4}], "two-stage",
         "1.33x; not split, since without the structure it is 2.00x"),
        ([{"two-stage": 5, "split": 4, "rebuilt": 4}, {"two-stage": 4, "split": 8, "rebuilt": 4}],
         "rebuilt", ("not split, since without the structure it is 2.00x; not two-stage, since "
                     "without the structure it is 1.25x")),
    ],
)  # fmt: skip
def test_no_engine_gets_slower(others, form, told):
    chooser = NeverSlower((Clock(SPLIT), *map(Clock, others)), PLAIN)
    choice = chooser.choose(None, candidates("two-stage", "split", "rebuilt"))
    assert choice == Choice(form, told)


def test_what_gains_nothing_is_computed_as_it_was():
    first = Clock({"two-stage": 4, "split": 3.95, "rebuilt": 4})
    choice = NeverSlower((first,), PLAIN).choose(None, candidates("two-stage", "split", "rebuilt"))
    assert choice == Choice("rebuilt", "no gain")
    # The operator's body is no candidate beside the form that writes it down.
    assert first.asked == [("rebuilt", "two-stage", "split")]


def test_an_operator_whose_body_is_the_plain_form_stays():
    chooser = NeverSlower((Clock({"body": 2, "spectral": 3}),), PLAIN)
    assert chooser.choose(None, candidates("spectral")).form == KEEP
    chooser = NeverSlower((Clock({"body": 2, "spectral": 1}), Clock({"body": 2, "spectral": 3})),
                          PLAIN)  # fmt: skip
    assert chooser.choose(None, candidates("spectral")).form == KEEP
    assert PLAIN.choose(None, candidates("spectral")).form == KEEP


def _layer() -> ir.Model:
    net = Net(1, 16, 12, 12)
    model = net.model(net.op("Relu", net.conv(net.x, 16, channels=16, name="a", bias=False)))
    shared = ShareKernels("4").apply(model).model
    value = shared.graph.initializers["a.weight"]
    array = constant(value).copy()
    array.reshape(-1)[: 9 * array.size // 10] = 0
    value.const_value = ir.Tensor(array, name=value.name)
    return shared


def test_the_pass_takes_the_plain_form():
    (change,) = Choose(chooser=PLAIN).apply(_layer()).changes
    assert (change.form, change.reason) == ("rebuilt", "as fast as it was without the structure")


@pytest.mark.parametrize("form", ["two-stage", "rebuilt"])
def test_native_skips_zeros_whatever_form_a_file_has(form, tmp_path):
    """The factors of kernels that are multiplied are those of two stages."""
    lowered = Choose(form=form).apply(_layer()).model
    graph.save(lowered, tmp_path / "layer.onnx")
    session = Native(algorithm="sparse").prepare(load(tmp_path / "layer.onnx"))
    inputs = engines.random_inputs(lowered)
    (found,) = session.run(inputs).values()
    assert [told.algorithm for told in session.algorithms] == ["sparse, of shared kernels"]
    (expected,) = engines.get("onnxruntime").prepare(lowered).run(inputs).values()
    assert abs(found - expected).max() <= 1e-5 * abs(expected).max()
