"""Types checked as the suite runs; hypothesis profiles and the seed.

`--hypothesis-profile=long` is the long run, `MLCNN_UNTYPED=1` leaves the types unchecked.
"""

import os

import onnxruntime
import pytest
import torch
from beartype import BeartypeConf, BeartypeDecorPlace
from beartype.claw import beartype_packages
from hypothesis import HealthCheck, settings

# Every call in these packages is checked against its annotations; this has to stand before any
# import of them. An int counts as a float, as it does for the static checker. Of a sequence the
# same element is checked each time: hypothesis refuses what draws from `random`.
#
# The others meet what users give (api, cli, the loaders of graph, records, files of machines): they
# refuse wrong types with messages of their own, and tests give them such on purpose.
_CHECKED = (
    "mlcnn.counting",
    "mlcnn.graph.operators",
    "mlcnn.nn",
    "mlcnn.ops",
    "mlcnn.passes",
    "mlcnn.report",
)
_UNCHECKED = (
    "mlcnn.nn.assemble",  # torch's alias of a graph's argument quotes names that only torch has
    "mlcnn.passes.verification",  # its argument comes from a module that imports it
)
if not os.environ.get("MLCNN_UNTYPED"):
    beartype_packages(
        _CHECKED,
        conf=BeartypeConf(
            is_pep484_tower=True,
            is_random=False,
            claw_is_pep526=False,
            claw_decor_place_func=BeartypeDecorPlace.FIRST,
            claw_skip_package_names=_UNCHECKED,
        ),
    )

# Two test processes share two cores: more threads each would only make them wait.
torch.set_num_threads(1)

# Without VNNI, ONNX Runtime adds up products of codes in 16 bits, which saturate, unless it is told
# to be exact: tests hold other engines against it on any processor.
_PLAIN = onnxruntime.SessionOptions


def _exact() -> onnxruntime.SessionOptions:
    options = _PLAIN()
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


onnxruntime.SessionOptions = _exact

_SLOW_DATA = (HealthCheck.too_slow, HealthCheck.data_too_large)
settings.register_profile(
    "ci", max_examples=100, deadline=None, print_blob=True, suppress_health_check=_SLOW_DATA
)
settings.register_profile(
    "long", max_examples=5000, deadline=None, print_blob=True, suppress_health_check=_SLOW_DATA
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_report_header(config: pytest.Config) -> str:
    """Say how to repeat the random examples of this run."""
    seed = config.getoption("--hypothesis-seed", default=None)
    return f"random examples: --hypothesis-seed={seed if seed is not None else 'not set'}"
