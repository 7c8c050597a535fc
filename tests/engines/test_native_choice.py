"""What bounds a choice of algorithms, and what becomes of kept ones that are damaged."""

import json
import multiprocessing
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest
from engines.test_native import network
from onnx import helper

from mlcnn.engines.engine import LayerAlgorithm
from mlcnn.engines.native import Native
from mlcnn.engines.native.algorithms import Choosing
from mlcnn.engines.native.budget import MOST, within
from mlcnn.engines.native.choice import Asked, Choice, Layer, fastest
from mlcnn.engines.native.estimate import estimate
from mlcnn.engines.native.geometry import Geometry
from mlcnn.engines.native.library import load
from mlcnn.engines.native.machine import Machine
from mlcnn.engines.native.store import read_json, write_json
from mlcnn.engines.native.winograd import Winograd

MACHINE = Machine(5e10, 1e10)
PLENTY = 1 << 40
GIVEN_UP = "given up: with its weights all would pass"


def layer(name: str, channels: int, size: int) -> Layer:
    geometry = Geometry(
        8, (16,) * (channels // 16), channels, size, size, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)
    )
    ways = {k: estimate(geometry, k, 16, MACHINE) for k in (None, *geometry.transforms())}
    return Layer(Asked(name, geometry), ways)


def weights(layers: Sequence[Layer], choices: Sequence[Choice]) -> int:
    return sum(way.ways[c.kind].weight_bytes for way, c in zip(layers, choices, strict=True))


def test_the_layers_that_gain_under_a_tenth_give_way() -> None:
    layers = [layer("gains", 512, 16), layer("gains little", 512, 4)]
    times = [{None: 10.0, Winograd.F23: 6.0, Winograd.F43: 3.0},
             {None: 0.87, Winograd.F23: 0.85, Winograd.F43: 0.8}]  # fmt: skip
    choices = [fastest(ms, measured=True) for ms in times]
    plain = sum(each.ways[None].weight_bytes for each in layers)
    assert weights(layers, choices) == 4 * plain
    found = within(layers, choices, PLENTY, MOST)
    assert [choice.kind for choice in found] == [Winograd.F43, None]
    assert found[1].reason.endswith(f"{GIVEN_UP} 2 times the network's")
    assert within(layers, choices, PLENTY, 4) == choices


def test_in_a_small_memory_the_layer_that_gains_least_per_byte_gives_way() -> None:
    layers = [layer("gains", 512, 16), layer("gains little", 512, 4)]
    times = [{None: 10.0, Winograd.F23: 6.0, Winograd.F43: 3.0},
             {None: 1.0, Winograd.F23: 0.9, Winograd.F43: 0.8}]  # fmt: skip
    choices = [fastest(ms, measured=True) for ms in times]
    plain = sum(each.ways[None].weight_bytes for each in layers)
    for times_plain, kinds in ((2.6, [Winograd.F43, None]), (2, [Winograd.F23, None])):
        found = within(layers, choices, int(times_plain * plain), MOST)
        assert weights(layers, found) <= times_plain * plain
        assert [choice.kind for choice in found] == kinds
        assert found[1].reason.endswith(f"{GIVEN_UP} the machine's memory")


def test_small_networks_have_no_bound() -> None:
    layers = [layer("small", 64, 16)]
    choices = [fastest({None: 3.0, Winograd.F43: 1.0}, measured=True)]
    assert within(layers, choices, PLENTY, MOST) == choices


@pytest.mark.parametrize("algorithm", ["auto", "winograd"])
def test_transforms_beyond_the_memory_are_not_made(algorithm: str) -> None:
    asked = layer("large", 128, 32).asked
    for memory, direct in ((PLENTY, False), (1 << 19, True)):
        choose = Choosing(algorithm, MACHINE, 1, 0, memory).chooser(load())
        (kind,), (told,) = choose([asked]), choose.choices
        assert (kind is None) == direct
        assert (told.algorithm == "direct") == direct
        assert ("with its weights all would pass the machine's memory" in told.reason) == direct


def test_the_programs_of_a_machine_without_memory_for_transforms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "psutil.virtual_memory", lambda: SimpleNamespace(total=200_000, available=10**9)
    )
    assert [row.algorithm for row in measured(model(), "auto")] == ["direct"]


# -- the cache


def model() -> ir.Model:
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((64, 64, 3, 3), np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4, name="conv")
    return network([node], {"w": weight}, 64, size=(16, 16))


def measured(network: ir.Model, algorithm: str = "measured") -> list[LayerAlgorithm]:
    session = Native(algorithm=algorithm).prepare(network)
    session.run({"x": np.zeros((1, 64, 16, 16), np.float32)})
    return list(session.algorithms)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache with the compiled kernels, and nothing else."""
    path = load().path
    folder = tmp_path / "mlcnn"
    folder.mkdir()
    shutil.copy(path, folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    load.cache_clear()
    yield folder
    load.cache_clear()


@pytest.mark.parametrize(
    "entry",
    [None, 3, "text", [], {}, {"-1": 1.0}, {"-1": 1.0, "0": "1", "1": 1.0},
     {"-1": -1.0, "0": 1.0, "1": 1.0}, {"-1": float("nan"), "0": 1.0, "1": 1.0},
     {"-1": float("inf"), "0": 1.0, "1": 1.0}, {"-1": True, "0": None, "1": []}],
)  # fmt: skip
def test_a_damaged_entry_is_measured_again(cache: Path, entry: object) -> None:
    first = measured(model())
    (path,) = cache.glob("*.choices.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    (key,) = document
    path.write_text(json.dumps({key: entry, "other": {"-1": 1.0}}), encoding="utf-8")
    again = measured(model())
    assert all(row.measured for row in again)
    assert [row.geometry for row in again] == [row.geometry for row in first]
    repaired = json.loads(path.read_text(encoding="utf-8"))
    assert set(repaired[key]) == set(document[key])
    assert repaired["other"] == {"-1": 1.0}
    assert measured(model()) == again


@pytest.mark.parametrize("text", ["", "\0", "[" * 100_000, "[]", "\ud800", '{"a": '])
def test_a_damaged_file_is_measured_again(cache: Path, text: str) -> None:
    measured(model())
    for path in cache.glob("*.json"):
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert all(row.measured for row in measured(model()))
    (path,) = cache.glob("*.choices.json")
    assert len(json.loads(path.read_text(encoding="utf-8"))) == 1


def _write(path: Path, number: int) -> None:
    for _ in range(20):
        write_json(path, {str(index): number for index in range(500)})


def test_of_two_that_write_at_once_one_wins_whole(tmp_path: Path) -> None:
    path, context = tmp_path / "choices.json", multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, number)) for number in (1, 2)]
    for writer in writers:
        writer.start()
    seen = set[int]()
    while any(writer.is_alive() for writer in writers):
        found = read_json(path)
        if path.exists() and found:
            assert len(found) == 500
            assert len(set(found.values())) == 1
            seen |= set(found.values())
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen <= {1, 2}
    assert len(set(read_json(path).values())) == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.long
def test_two_processes_measure_at_once(cache: Path) -> None:
    code = (
        "from mlcnn import engines, zoo\nfrom mlcnn.engines.native import Native\n"
        "m = zoo.load('resnet20')\ns = Native().prepare(m)\ns.run(engines.random_inputs(m, 1))\n"
        "assert all(row.measured for row in s.algorithms)\n"
    )
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    (path,) = cache.glob("*.choices.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    assert all(all(ms > 0 for ms in entry.values()) for entry in document.values())
    assert not [p for p in cache.iterdir() if p.suffix not in {".so", ".json"}]
