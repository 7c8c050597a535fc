"""Templates: the machine as it is for its default, sizes by the formulas, and wrong files."""

import pytest

from mlcnn.codesign import load_architecture
from mlcnn.codesign.exploration import load_template, template_names
from mlcnn.codesign.gemmini import GemminiSize, gemmini
from mlcnn.errors import InputError


def test_what_there_is():
    assert template_names() == ("dense", "eyeriss", "gemmini", "mlcnn")


@pytest.mark.parametrize("name", ["eyeriss", "gemmini"])
def test_the_default_is_the_architecture_itself(name):
    template = load_template(name)
    assert template.make(template.default) == load_architecture(name)


def test_sizes_of_a_gemmini():
    space = load_template("gemmini").space()
    assert len(space) == 7 * 12 * 12 == 1008
    for design in [(0, 0, 0), (3, 7, 5), (6, 11, 11), (5, 2, 9)]:
        side, scratchpad, accumulator = space.values(design).values()
        words = int(accumulator * 1024 / 4 / side)
        size = GemminiSize(int(side), words, int(scratchpad * 1024))
        assert space.architecture(design) == gemmini(size)
        # Table gemmini-40nm: units, bytes of the accumulators, bytes of the scratchpad.
        area = side**2 * 4.34223226e-4 + accumulator * 1024 * 5.547277e-6
        area += scratchpad * 1024 * 2.61332274e-6
        assert space.architecture(design).area_um2 == pytest.approx(area * 1e6)


def test_the_fine_space_rounds_down():
    space = load_template("gemmini").space("fine")
    assert len(space) == 32 * 35 * 35
    machine = space.architecture((2, 3, 4))  # 12, 1.25 ** 3 and 1.25 ** 4 kB
    capacities = {level.name: level.capacity for level in machine.levels}
    assert capacities["scratchpad"] == 2000  # 1024 * 1.953125
    assert capacities["accumulator"] == 52  # 256 * 2.44140625 / 12 = 52.08


def test_neighbours_are_a_step_away():
    space = load_template("gemmini").space()
    assert set(space.neighbours((0, 0, 0))) == {
        (a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1) if (a, b, c) != (0, 0, 0)
    }
    assert len(list(space.neighbours((3, 3, 3)))) == 26


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        (["pe=64..8"], "--range pe=64..8: an empty range; give the lower end first"),
        (
            ["pe=200..300"],
            (
                "--range pe=200..300: the template's steps are 2, 4, 8, 16, "
                "32, 64, 128, and that is "
                "others"
            ),
        ),
        (
            ["pe=8,9"],
            "--range pe=8,9: the template's steps are 2, 4, 8, 16, 32, 64, 128, and that is others",
        ),
        (
            ["pe=8..16", "pe=32..64"],
            "--range pe=32..64: the template's steps are 8, 16, and that is others",
        ),
        (
            ["pe=small"],
            (
                "--range pe=small: a number, a range as 8..64, or numbers with commas between are "
                "required"
            ),
        ),
        (
            ["side=8"],
            (
                "--range side=8: a parameter of template gemmini and its values are required, as "
                "pe=8..64; its parameters: pe, scratchpad_kb, accumulator_kb"
            ),
        ),
        (
            ["scratchpad=8"],
            (
                "--range scratchpad=8: a parameter of template gemmini and "
                "its values are required, "
                "as pe=8..64; did you mean 'scratchpad_kb'?; its parameters: pe, scratchpad_kb, "
                "accumulator_kb"
            ),
        ),
    ],
)
def test_ranges_that_leave_nothing(ranges, message):
    with pytest.raises(InputError) as error:
        load_template("gemmini").space(ranges=ranges)
    assert str(error.value) == message


def test_unknown_names():
    with pytest.raises(InputError) as error:
        load_template("gemmini").space("coarse")
    assert str(error.value) == (
        "template gemmini has no space 'coarse'; did you mean 'powers'?; its spaces: powers, fine"
    )
    with pytest.raises(InputError) as error:
        load_template("gemini")
    assert str(error.value) == (
        "unknown template 'gemini', did you mean 'gemmini'? Known: dense, eyeriss, gemmini, "
        "mlcnn; or give the path of a .yaml file"
    )


FILE = """architecture: gemmini
spaces:
  few:
    pe: {from: 8, to: 16, times: 2}
default: {pe: 16}
levels:
  scratchpad: {fan_out: pe}
"""


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(FILE)
    space = load_template(path).space()
    assert [space.architecture(one).levels[1].fan_out.size for one in space] == [8, 16]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "from: 8, to: 16",
            "from: 16, to: 8",
            ":4: from 16 to 8 is an empty range; from must not be above to",
        ),
        (
            ", times: 2",
            "",
            (
                ":4: a range needs either times, above 1, or plus: what "
                "leads from one value to the "
                "next"
            ),
        ),
        (
            "times: 2",
            "times: 1",
            (
                ":4: a range needs either times, above 1, or plus: what "
                "leads from one value to the "
                "next"
            ),
        ),
        (
            "times: 2",
            "plus: 0.0001",
            ":4: it has over 10000 values; make the step larger",
        ),
        (
            "scratchpad:",
            "scratch:",
            (
                ":7: architecture gemmini has no level 'scratch'; did you mean 'scratchpad'?; its "
                "levels: dram, scratchpad, accumulator, register"
            ),
        ),
        (
            "default: {pe: 16}",
            "default: {side: 16}",
            (
                ":3: space few and default must name the same parameters, and pe stands in one of "
                "them alone"
            ),
        ),
        (
            "fan_out: pe",
            "fanout: pe",
            ":7: unknown key 'levels.scratchpad.fanout'; did you mean 'fan_out'?",
        ),
    ],
)
def test_files_that_are_wrong(tmp_path, old, new, message):
    path = tmp_path / "mine.yaml"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(InputError) as error:
        load_template(path)
    assert str(error.value) == f"template {path}{message}"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("side * 2", "unknown name 'side' in 'side * 2'"),
        (
            "pe - 20",
            (
                "template mine with pe=16: fan_out of level scratchpad, pe - "
                "20, is -4; it must be 1 "
                "or more"
            ),
        ),
    ],
)
def test_expressions_that_are_wrong(tmp_path, expression, message):
    path = tmp_path / "mine.yaml"
    path.write_text(FILE.replace("fan_out: pe", f"fan_out: {expression}"))
    with pytest.raises(InputError) as error:
        load_template(path)
    assert str(error.value) == message
