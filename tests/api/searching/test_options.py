"""What cannot be asked of ``cheapest`` is refused in a line, before anything runs."""

import pytest

from mlcnn.api.searching.options import CheapestOptions
from mlcnn.errors import InputError

_KNOWN = "known: latency, energy, area, size, memory"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "fast"}, f"--objective fast: 'fast' is none; {_KNOWN}"),
        (
            {"objective": "latncy"},
            f"--objective latncy: 'latncy' is none; did you mean 'latency'?; {_KNOWN}",
        ),
        ({"objective": "size,size"}, "--objective size,size: one, or two different ones"),
        (
            {"objective": "size,latency,memory"},
            "--objective size,latency,memory: one, or two different ones",
        ),
        (
            {"objective": "area", "on": "mlcnn-int8"},
            (
                "--objective area: the area of a machine is the same for every network; give "
                "--template mlcnn (or gemmini, eyeriss, dense): the least area that runs the "
                "network as fast"
            ),
        ),
        (
            {"objective": "energy"},
            (
                "--objective energy: energy on which machine? give --on mlcnn-int8, or "
                "--template mlcnn for one to be designed"
            ),
        ),
        (
            {"objective": "size", "engines": ("native",)},
            (
                "--engine native: an engine is where latency counts, and the objective is size; "
                "leave one of them out"
            ),
        ),
        ({"max_drop": -1.0}, "--max-drop -1: percentage points from 0 to 100 are required"),
        ({"first": 0}, "--first 0: 1 or more images"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InputError) as error:
        CheapestOptions(**options).require()
    assert str(error.value) == message


def test_an_unknown_method_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"--methods: unknown method 'chanels'; did you mean 'ch"):
        CheapestOptions(methods=("chanels",)).require()


def test_methods_are_kept_in_the_order_in_which_they_go():
    kinds = CheapestOptions(methods=("int8", "channels")).kinds
    assert [kind.name for kind in kinds] == ["channels", "int8"]
