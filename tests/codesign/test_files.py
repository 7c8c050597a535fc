"""Architectures from files, and what wrong ones are told."""

import pytest

from mlcnn.codesign import (
    Architecture,
    EnergyLaw,
    FanOut,
    Level,
    Operand,
    architecture_names,
    load_architecture,
)
from mlcnn.codesign.gemmini import GemminiSize, gemmini
from mlcnn.errors import InputError

_FILE = """\
name: two
mac_energy_pj: 1
levels:
  dram:
    keeps: [weight, input, output]
    word_bits: 8
    energy: {pj: 100}
    write_energy: {pj: 120}
  buffer:
    keeps: [weight, output]
    word_bits: 16
    energy: {pj: 1, pj_per_kb: 0.5}
    capacity: {weight: 512, output: 512}
    fan_out: {size: 4}
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "machine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_gemmini_is_what_the_artefact_says():
    # DOSA's constants: 16 x 16, 128 kB of scratchpad, 32 kB of accumulators.
    machine = load_architecture("gemmini")
    assert [machine.instances(number) for number in range(5)] == [1, 1, 16, 256, 256]
    dram, scratchpad, accumulator, register = machine.levels
    assert dram.read_pj == 100
    assert scratchpad.read_pj == pytest.approx(0.49 + 0.02513 * 128)
    assert accumulator.read_pj == pytest.approx(1.94 + 0.1005 * 32 / 16)
    assert register.read_pj == 0.48746
    assert scratchpad.size_bytes == 128 * 1024
    assert accumulator.size_bytes * 16 == 32 * 1024


def test_the_template_is_the_gemmini_of_its_size():
    assert gemmini(GemminiSize(16, 512, 131072)) == load_architecture("gemmini")


def test_a_file_is_read(file):
    machine = load_architecture(file(_FILE))
    dram, buffer = machine.levels
    assert (dram.read_pj, dram.write_pj, dram.capacity) == (100, 120, None)
    assert (buffer.keeps, buffer.words) == ((Operand.WEIGHT, Operand.OUTPUT), 1024)
    assert buffer.write_pj == buffer.read_pj == 2
    assert machine.instances(2) == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("word_bits: 16", "wordbits: 16", ":11: unknown key 'levels.buffer.wordbits'; did "),
        ("word_bits: 16", "word_bits: 0", ":11: levels.buffer.word_bits is 0: "),
        ("{size: 4}", "{sise: 4}", ":14: unknown key 'levels.buffer.fan_out.sise'; did you mean "),
        ("    energy: {pj: 100}\n", "", ":4: key 'levels.dram.energy' is missing"),
        ("[weight, output]", "[weights, output]", ":10: levels.buffer.keeps.0 is 'weights'"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_by_line(file, old, new, message):
    path = file(_FILE.replace(old, new))
    with pytest.raises(InputError) as told:
        load_architecture(path)
    assert str(told.value).startswith(f"architecture {path}{message}")


def test_an_unknown_name_is_told():
    with pytest.raises(InputError, match="unknown architecture 'gemini', did you mean 'gemmini'"):
        load_architecture("gemini")
    assert "gemmini" in architecture_names()


_ALL = tuple(Operand)
_MISSING = "architecture m: its outermost level a must keep every operand; input, output is missing"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Architecture("m", (), 1.0), "architecture m: it has no levels"),
        (
            lambda: Architecture("m", (Level("a", _ALL, 8), Level("a", _ALL, 8)), 1.0),
            "architecture m: two levels have one name: ['a', 'a']",
        ),
        (
            lambda: Architecture("m", (Level("a", (Operand.WEIGHT,), 8),), 1.0),
            _MISSING,
        ),
        (
            lambda: Level("a", _ALL, 8, fan_out=FanOut(0)),
            "level a: word_bits, block_words and the fan-out must be positive, got 8, 1 and 0",
        ),
        (
            lambda: Level("a", _ALL, 8, energy=EnergyLaw(1.0), read_bandwidth=0.0),
            "level a: bandwidths must be positive, got (0.0, None, None)",
        ),
    ],
)
def test_what_is_no_machine_is_told(make, message):
    with pytest.raises(InputError) as told:
        make()
    assert str(told.value) == message
