"""A size for each layer under a budget."""

import itertools
import random
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

import mlcnn
from mlcnn import training
from mlcnn.api.benchmarking import MeasureOptions
from mlcnn.api.budgeting import Budget, Budgeted, Budgeter, Quantity, Sizing, cheapest
from mlcnn.api.layer_costs import Stopwatch
from mlcnn.api.sensitivity import Judge
from mlcnn.errors import InputError
from mlcnn.passes import BlockCirculant, Sized


def sizings(generator: random.Random, layer: int) -> list[Sizing]:
    losses = sorted(generator.random() for _ in range(4))
    costs = sorted((generator.uniform(1, 40) for _ in range(4)), reverse=True)
    return [
        Sizing(str(layer), 2**i, cost, loss, generator.randrange(-2, 9))
        for i, (cost, loss) in enumerate(zip(costs, losses, strict=True))
    ]


def cost(sizing: Sizing) -> float:
    return sizing.cost


def loss(sizing: Sizing) -> float:
    return sizing.loss


def wrong(sizing: Sizing) -> float:
    return max(sizing.wrong, 0)


Figure = Callable[[Sizing], float]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize(("spends", "loses", "most"), [(cost, loss, 120), (wrong, cost, 20)])
def test_the_search_is_exact(seed: int, spends: Figure, loses: Figure, most: int) -> None:
    """As good as the best of all choices: of time or the like, and of images."""
    generator = random.Random(seed)
    options = [sizings(generator, layer) for layer in range(4)]
    limit = generator.randrange(most)
    found = cheapest(options, limit, spends=spends, loses=loses)
    every = [p for p in itertools.product(*options) if sum(map(spends, p)) <= limit]
    if not every:
        assert found is None
        return
    assert found is not None
    assert sum(map(spends, found)) <= limit
    best = min(sum(map(loses, picked)) for picked in every)
    assert sum(map(loses, found)) == pytest.approx(best)


@pytest.mark.parametrize(
    ("text", "budget"),
    [("4x", Budget(4)), ("parameters=2.5x", Budget(2.5)),
     ("multiplications=3x", Budget(3, Quantity.MULTIPLICATIONS)),
     ("time=2x", Budget(2, Quantity.TIME)), ("accuracy-drop=0.5", Budget(0.5, Quantity.DROP)),
     ("accuracy-drop=0", Budget(0, Quantity.DROP))],
)  # fmt: skip
def test_a_budget_is_read(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget


@pytest.mark.parametrize(
    "text",
    ["4", "1x", "0.5x", "energy=4x", "-2x", "", "time=2", "accuracy-drop=2x", "accuracy-drop=-1"],
)
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(InputError, match="a factor above 1 is required"):
        Budget.parse(text)


@pytest.fixture(scope="module")
def data() -> training.Data:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (400, 3, 8, 8), np.uint8)
    parts = [
        training.ImageSet(name, images[i::4], np.arange(100) % 3, 3)
        for i, name in enumerate(("training", "calibration", "validation", "test"))
    ]
    return training.Data("noise", parts[0], parts[1], parts[2], parts[3])


def network(width: int = 16) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 32), nn.ReLU(),
        nn.Linear(32, 3),
    )  # fmt: skip


def finetune(data: training.Data, budget: str, passes: str = "block-circulant{block=2}"):
    return mlcnn.finetune(network(), data, passes=passes, budget=budget, epochs=1)


def test_sizes_keep_within_the_budget(data: training.Data) -> None:
    told: list[str] = []
    found = mlcnn.finetune(
        network(), data, passes="block-circulant{block=2}", budget="2x", epochs=1,
        notice=told.append,
    )  # fmt: skip
    tensors = [v.const_value for v in found.optimized.model.graph.initializers.values()]
    weights = [tensor.size for tensor in tensors if tensor is not None]
    before = sum(p.numel() for p in network().parameters())
    assert sum(weights) <= before / 2
    assert any(line.startswith("within parameters=2x: block-circulant{block=2=") for line in told)


def test_what_no_sizes_meet_says_what_they_reach(data: training.Data) -> None:
    with pytest.raises(InputError, match=r"no sizes reach more than \d\.\d\dx; ask for less"):
        finetune(data, "50x")


def test_passes_without_sizes_have_no_budget(data: training.Data) -> None:
    with pytest.raises(InputError, match="has a size for each layer"):
        finetune(data, "4x", "reorder{all=true}")


def sizes_of(budgeted: Budgeted) -> dict[str, int]:
    return {s.layer: s.size for s in budgeted.sizings if s.chosen}


def budgeter(data: training.Data, width: int = 16) -> Budgeter:
    model = mlcnn.api.load(network(width), image_shape=(3, 8, 8))
    passes, normal = "block-circulant{block=2}", training.Normal((0.5,) * 3, (0.25,) * 3)
    judge = Judge(model, passes, data, normal, training.Hardware(), lambda *_: None)
    return Budgeter(judge, MeasureOptions(engines=("onnxruntime",)))


class Told:
    """Times in place of measured ones."""

    where = "told"

    def networks(self, models: Mapping[str, ir.Model]) -> dict[str, float]:
        return dict.fromkeys(models, 10.0)

    def layer(
        self, model: ir.Model, name: str, sized: Sized, sizes: tuple[int, ...]
    ) -> dict[int, float]:
        # A layer's time halves with blocks of 4, and is longer with any others.
        del model, name, sized
        return {1: 3.0, **dict.fromkeys(sizes, 4.0), 4: 1.5}


def test_a_budget_of_time_takes_sizes_that_are_faster(
    data: training.Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 10 ms two layers take 6; in blocks of 4 they save 1.5 each."""
    monkeypatch.setattr(Stopwatch, "fastest", lambda *_: Told())
    found = budgeter(data).within(Budget.parse("time=1.4x"))
    layers = {s.layer for s in found.sizings}
    assert sizes_of(found) == dict.fromkeys(layers, 4)
    assert found.predicted == 10 - 1.5 * len(layers)
    assert (found.found, found.before, found.where) == (10.0, 10.0, "told")
    assert (
        "7.000 ms by the sum over its layers, 10.000 ms measured as a whole (1.00x), " in found.told
    )
    one = budgeter(data).within(Budget.parse("time=1.1x"))
    assert sorted(sizes_of(one).values()) == [1, 4]
    with pytest.raises(InputError, match=r"time=2x: no sizes reach more than 1\.43x"):
        budgeter(data).within(Budget.parse("time=2x"))


def test_times_are_those_of_the_engine(data: training.Data) -> None:
    """Each size of each layer, and the whole, are measured; more work takes longer."""
    model = budgeter(data).judge.model
    watch = Stopwatch.fastest(model, MeasureOptions(engines=("onnxruntime", "torch")))
    assert watch.where.startswith("onnxruntime, batch 1, 1 thread")
    sized = BlockCirculant(block="2")
    for name, sizes in sized.sizes(model).items():
        found = watch.layer(model, name, sized, sizes)
        assert set(found) == {1, *sizes}
        assert all(0 < ms < 100 for ms in found.values())
        assert watch.layer(model, name, sized, sizes) is found
    two = watch.networks({"a": model, "b": model})
    assert two["a"] == pytest.approx(two["b"], rel=1)


def test_a_budget_of_accuracy_keeps_to_the_images_it_may_lose(data: training.Data) -> None:
    found = budgeter(data).within(Budget.parse("accuracy-drop=10"))
    chosen = [s for s in found.sizings if s.chosen]
    lost = sum(max(s.wrong, 0) for s in chosen)
    assert lost <= 10  # of 100 images
    assert found.predicted == pytest.approx(lost)
    by_layer = [[s for s in found.sizings if s.layer == c.layer] for c in chosen]
    least = min(
        sum(s.cost for s in picked)
        for picked in itertools.product(*by_layer)
        if sum(max(s.wrong, 0) for s in picked) <= 10
    )
    assert sum(s.cost for s in chosen) == least
    assert "by all together, untrained, on 100 images of validation" in found.told


def test_parts_counted_alone_are_those_of_the_network(data: training.Data) -> None:
    """Sums over layers are what the rewritten network takes: exact for counts."""
    for text in ("2x", "multiplications=2x"):
        found = budgeter(data, 64).within(Budget.parse(text))
        assert found.predicted == found.found <= found.before / 2
