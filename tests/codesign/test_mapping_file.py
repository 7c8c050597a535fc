"""Mappings from files, and what wrong ones are told."""

import pytest

from mlcnn.codesign import Mapping, Operand, load_architecture, read_mapping
from mlcnn.errors import InputError

_TEXT = "dram[WIO] K4 P56 - scratchpad[WI] K16X - accumulator[O] C4 R3 S3 C16X - register[W] Q56"
_LEVELS = """\
levels:
  dram:
    temporal: [K4, P56]
  scratchpad:
    spatial: [K16]
  accumulator:
    keep: [output]
    temporal: [C4, R3, S3]
    spatial: [C16]
  register:
    temporal: [Q56]
"""


@pytest.fixture
def read(tmp_path):
    def make(text):
        path = tmp_path / "mapping.yaml"
        path.write_text(text, encoding="utf-8")
        return read_mapping(path, load_architecture("gemmini"))

    return make


def test_text_and_both_forms_of_a_file_are_the_same(read):
    mapping = Mapping.parse(_TEXT)
    assert read_mapping(_TEXT, load_architecture("gemmini")) == mapping
    assert read(f"mapping: {_TEXT}\n") == mapping
    assert read(_LEVELS) == mapping


def test_names_of_levels_may_be_left_out_of_the_text():
    machine = load_architecture("gemmini")
    nameless = "[WIO] K4 P56 - [WI] K16X - [O] C4 R3 S3 C16X - [W] Q56"
    assert read_mapping(nameless, machine) == Mapping.parse(_TEXT)


def test_what_a_level_does_not_say_it_has_not(read):
    mapping = read("levels:\n  dram: {temporal: [K2]}\n  scratchpad: {keep: []}\n")
    dram, scratchpad, accumulator, register = mapping.levels
    assert dram.keep == tuple(Operand)
    assert dram.temporal == (("K", 2),)
    assert scratchpad.keep == ()
    assert accumulator.keep == (Operand.OUTPUT,)
    assert (register.temporal, register.spatial) == ((), ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("levels:\n  drum: {}\n", ":2: gemmini has no level 'drum'; did you mean 'dram'?; levels"),
        ("levels:\n  dram: {temporl: []}\n", ":2: unknown key 'levels.dram.temporl'; did you mean"),
        ("levels:\n  dram:\n    temporal: [4K]\n", ":3: loop '4K' of dram: a dimension and its "),
        ("levels:\n  dram:\n    temporal: [K0]\n", ":3: loop 'K0' of dram: a dimension and its "),
        ("levels:\n  dram:\n    keep: [sums]\n", ":3: levels.dram.keep.0 is 'sums': input should "),
        ("mapping: dram K4\n", ":1: level 'dram K4' of a mapping: it must be what it keeps"),
        ("mapping: '[WIO]'\n", ":1: the mapping has 1 levels, and gemmini has 4: dram - scratch"),
        ("mapping: '[WIO]'\nlevels: {}\n", ": one of the keys mapping and levels is required, and"),
        ("{}\n", ": one of the keys mapping and levels is required, and there is none"),
        ("a: [\n", ":2: not valid YAML"),
        ("- a\n", ": it must be a table of keys, one of mapping, levels a line, and it is "),
        (
            "mapping: 'dram[WIO] - accumulator[WI] - scratchpad[O] - register[W]'\n",
            (
                ":1: level 1 of the mapping is 'accumulator', and that of gemmini is 'scratchpad'; "
                "levels stand outermost first: dram - scratchpad - accumulator - register"
            ),
        ),
    ],
)
def test_wrong_files_are_told_with_their_line(read, tmp_path, text, message):
    with pytest.raises(InputError) as told:
        read(text)
    assert str(told.value).startswith(f"mapping {tmp_path / 'mapping.yaml'}{message}")


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match=r"gone\.yaml: cannot be read"):
        read_mapping(tmp_path / "gone.yaml", load_architecture("gemmini"))
