"""In which forms a smaller network is saved; nothing is measured here."""

from dataclasses import dataclass

import onnx_ir as ir
import pytest
from passes.builder import Net

from mlcnn.api import forming, judging
from mlcnn.api.benchmarking import MeasureOptions
from mlcnn.api.judging import Judging
from mlcnn.engines import Bench, BenchResult, Plain, Timing
from mlcnn.passes import ShareKernels
from mlcnn.report import ORIGINAL
from mlcnn.workload import read


def layer() -> ir.Model:
    net = Net(1, 4, 8, 8)
    return net.model(net.op("Relu", net.conv(net.x, 6, channels=4, name="a")))


def row(engine: str, variant: str, *ms: float) -> BenchResult:
    return BenchResult(engine, variant, 1, 1, Timing(ms))


def test_slower_is_what_is_surely_slower():
    rows = (
        row("a", ORIGINAL, *[1.0] * 9), row("a", "small", *[2.0] * 9),
        row("b", ORIGINAL, *[1.0] * 9), row("b", "small", *[0.9, 1.2, 1.1] * 3),
        row("c", ORIGINAL, *[1.0] * 9), row("c", "small", *[1.25] * 9),
    )  # fmt: skip
    told = forming.slower_in(Bench(rows), "small")
    assert told == "a (0.50x, 0.50 to 0.50), c (0.80x, 0.80 to 0.80)"
    assert not forming.slower_in(Bench(rows), "other")


@dataclass
class Shrinking:
    """What is read of it."""

    model: ir.Model

    def tell(self, stage: str, done: int, total: int) -> None:
        del stage, done, total


class Stages:
    """Chooses two stages, whatever they take."""

    def choose(self, layer, candidates):
        del layer
        return Plain(frozenset({"two-stage"})).choose(None, candidates)


def forms_of(model: ir.Model) -> list[str | None]:
    return [layer.form for layer in read(model).layers]


@pytest.fixture
def judged(monkeypatch):
    """Judges networks on a machine where two stages take as long as given."""

    def run(model: ir.Model, *staged_ms: float, plain_ms: float = 1.0):
        measured: list[dict[str, list[str | None]]] = []

        def measure(chosen, variants, options, tell):
            del options, tell
            models = variants(None)
            measured.append({name: forms_of(m) for name, m in models.items()})
            rows = []
            for setting, staged in zip(chosen, staged_ms, strict=True):
                for name, variant in models.items():
                    slow = "two-stage" in forms_of(variant)
                    ms = staged if slow else 1.0 if name == ORIGINAL else plain_ms
                    rows.append(row(setting.engine, name, *[ms] * 9))
            return Bench(tuple(rows))

        monkeypatch.setattr(judging, "measure", measure)
        monkeypatch.setattr(forming, "chooser_for", lambda *_: Stages())
        monkeypatch.setattr(
            forming, "NeverSlower", lambda choosers, plain: choosers[0] if plain else None
        )
        options = MeasureOptions(engines=("onnxruntime", "torch"))
        notes: list[str] = []
        it = Judging(Shrinking(layer()), options, None)
        models, bench = it._measured({"small": model}, notes)
        return forms_of(models["small"]), bench, notes, len(measured)

    return run


def test_forms_that_slow_nothing_down_are_saved(judged):
    forms, _, notes, times = judged(ShareKernels("4").apply(layer()).model, 0.5, 0.9)
    assert (forms, notes, times) == (["two-stage"], [], 1)


def test_a_network_that_is_slower_in_one_engine_is_computed_as_before(judged):
    forms, bench, notes, times = judged(ShareKernels("4").apply(layer()).model, 0.5, 2.0)
    assert (forms, times) == (["rebuilt"], 2)
    assert notes == [
        (
            "small is slower than the original in torch (0.50x, 0.50 to 0.50): no layer of it is "
            "computed by its structure"
        )
    ]
    assert not forming.slower_in(bench, "small")


def test_a_network_that_stays_slower_is_said_to_be(judged):
    _, _, notes, times = judged(layer(), 1.0, 1.0, plain_ms=1.25)
    assert times == 1
    assert notes == [
        (
            "small is slower than the original in onnxruntime (0.80x, 0.80 to 0.80), torch "
            "(0.80x, 0.80 to 0.80)"
        )
    ]
