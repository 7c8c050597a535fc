"""What can be built, and what is refused."""

import pytest

from mlcnn.errors import InputError
from mlcnn.rtl.build import Build


@pytest.mark.parametrize(("slices", "ways"), [(8, 1), (8, 8), (16, 2), (32, 4), (64, 8)])
def test_powers_of_two_can_be_built(slices: int, ways: int) -> None:
    build = Build(slices=slices, ways=ways)
    assert (build.slices, build.ways) == (slices, ways)


@pytest.mark.parametrize("slices", [0, 4, 12, 128])
def test_slices_that_a_beat_does_not_fill_are_refused(slices: int) -> None:
    with pytest.raises(InputError) as caught:
        Build(slices=slices)
    assert str(caught.value) == (
        f"slices {slices}: a beat fills 8 slices with weights, and their number is a power of two: "
        "give 8, 16, 32 or 64"
    )


@pytest.mark.parametrize("ways", [0, 3, 16])
def test_ways_that_are_no_power_of_two_are_refused(ways: int) -> None:
    with pytest.raises(InputError) as caught:
        Build(ways=ways)
    assert str(caught.value) == (
        f"ways {ways}: a power of two is required, 1 to 8, as slices are shared among them evenly"
    )
