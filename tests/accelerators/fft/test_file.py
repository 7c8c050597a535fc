"""Engines from files, and what is wrong with them."""

from dataclasses import replace

import pytest

from mlcnn.accelerators import Precision, load_accelerator, machine_types
from mlcnn.accelerators.fft import FftEngine, FftFile
from mlcnn.cli import main
from mlcnn.errors import InputError

ENGINES = {
    "fft-fp32": ("dcnn-fp32", Precision.FP32),
    "fft-fp16": ("dcnn-fp16", Precision.FP16),
    "fft-16": ("dcnn-int16", Precision.INT16),
    "fft-12": ("dcnn-int12", Precision.INT12),
}


def test_the_type_is_known():
    assert machine_types()["fft"] is FftFile


@pytest.mark.parametrize("name", ENGINES)
def test_no_engine_is_larger_than_the_dense_machine(name, technology):
    engine, dense = load_accelerator(name), load_accelerator(ENGINES[name][0])
    assert isinstance(engine, FftEngine)
    assert engine.precision is dense.precision is ENGINES[name][1]
    assert engine.area(technology) <= dense.area(technology)
    assert engine.array.on_chip_bytes <= dense.on_chip_bytes
    assert engine.array.dram_bytes_per_cycle == dense.dram_bytes_per_cycle
    # A word of eight blocks from its own bank for each way, and for each slice that a beat fills.
    array = engine.array
    assert array.input_banks >= max(array.most_ways, array.groups)
    assert array.input_width_bits == 8 * max(array.wide_bits, array.precision.bits)


@pytest.fixture
def edited(library, tmp_path):
    """The path of a copy of ``fft-fp16`` with something else in one place."""

    def edit(old, new):
        text = (library / "fft-fp16.yaml").read_text()
        assert old in text
        path = tmp_path / "mine.yaml"
        path.write_text(text.replace(old, new))
        return path

    return edit


@pytest.mark.parametrize(
    ("key", "value", "nearest"),
    [("words", 12, "8 or 16"), ("words", 1, "2 or 4"), ("largest_block", 100, "64 or 128")],
)
def test_a_core_that_is_no_power_of_two(edited, capsys, key, value, nearest):
    old = {"words": 16, "largest_block": 128}[key]
    path = edited(f"{key}: {old}", f"{key}: {value}")
    assert main(["evaluate", "lenet5", "--on", str(path), "--against", "dcnn-fp16"]) == 2
    assert capsys.readouterr().err == (
        f"mlcnn: error: {path}: accelerator fft-fp16: core {key} is {value} and must be a power of "
        f"two, 2 or more: {nearest}\n"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("products: 3", "products: 5", "core.products is 5: input should be 3 or 4"),
        ("  level_latency: 12", "  depth: 12", "unknown key 'core.depth'; known keys: "),
        ("wide_bits: 16", "winograd_tile: 2", "winograd_tile is 2 and kind dense takes 0"),
    ],
)
def test_other_mistakes(edited, old, new, message):
    with pytest.raises(InputError) as caught:
        load_accelerator(edited(old, new))
    assert message in str(caught.value)


def test_numbers_that_no_file_can_hold(engine):
    with pytest.raises(InputError, match="core products is 5 and must be 3 or 4"):
        replace(engine, core=replace(engine.core, products=5))
    with pytest.raises(InputError, match="core level_latency is 0 and must be positive"):
        replace(engine, core=replace(engine.core, level_latency=0))
