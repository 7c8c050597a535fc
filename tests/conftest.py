"""Hypothesis profiles and the seed: `--hypothesis-profile=long` for the long run."""

import os

import pytest
import torch
from hypothesis import HealthCheck, settings

# Two test processes share two cores: more threads each would only make them wait.
torch.set_num_threads(1)

_SLOW_DATA = (HealthCheck.too_slow, HealthCheck.data_too_large)
settings.register_profile(
    "ci", max_examples=200, deadline=None, print_blob=True, suppress_health_check=_SLOW_DATA
)
settings.register_profile(
    "long", max_examples=5000, deadline=None, print_blob=True, suppress_health_check=_SLOW_DATA
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_report_header(config: pytest.Config) -> str:
    """Say how to repeat the random examples of this run."""
    seed = config.getoption("--hypothesis-seed", default=None)
    return f"random examples: --hypothesis-seed={seed if seed is not None else 'not set'}"
