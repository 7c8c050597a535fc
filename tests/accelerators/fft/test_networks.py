"""What the engine gains on whole networks over the dense machine of its precision."""

import pytest

from benchmarks.fft_engine import CASES, gains

ASKED = [case for case in CASES if case.speed]


@pytest.mark.long
@pytest.mark.parametrize("case", ASKED, ids=lambda c: f"{c.network}-{c.batch}-{c.block}")
def test_what_the_engine_is_for(case):
    speed, energy = gains(case)
    assert speed >= case.speed
    assert energy >= case.energy
