"""Machines, tables, strategies for small layers, and packages of machines from outside."""

import importlib.resources
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import strategies as st

from mlcnn.accelerators import load_accelerator, load_technology
from mlcnn.workload import ConvLayer, Pool


@pytest.fixture(scope="session")
def technology():
    return load_technology()


@pytest.fixture(scope="session")
def mlcnn():
    return load_accelerator("mlcnn-fp32")


@pytest.fixture(scope="session")
def dense():
    return load_accelerator("dcnn-fp32")


@pytest.fixture(scope="session")
def small_layers():
    """Layers of a few hundred words, of every geometry that the model treats in its own way."""
    return _small_layers()


@st.composite
def _small_layers(draw):
    groups = draw(st.sampled_from([1, 1, 1, 2]))
    kernel = draw(st.sampled_from([(1, 1), (2, 2), (3, 3), (3, 3), (5, 5), (1, 3)]))
    dilation = draw(st.sampled_from([1, 1, 1, 2]))
    stride = draw(st.sampled_from([1, 1, 2]))
    pad = draw(st.integers(0, 2))
    window = draw(st.sampled_from([None, (2, 2), (2, 2), (3, 2), (4, 4), (2, 1)]))
    least = (max(kernel) - 1) * dilation + 1 + (stride * (window[0] - 1) if window else 0)
    layer = ConvLayer(
        "layer",
        N=draw(st.integers(1, 3)),
        K=groups * draw(st.integers(1, 7)),
        C=groups * draw(st.integers(1, 12)),
        H=least + draw(st.integers(0, 6)),
        W=least + draw(st.integers(0, 6)),
        R=kernel[0],
        S=kernel[1],
        G=groups,
        strides=(stride, stride),
        dilations=(dilation, dilation),
        pads=(pad, pad, pad, pad),
    )
    pool = None if window is None else Pool((window[0],) * 2, (window[1],) * 2)
    return replace(layer, pool=pool)


@pytest.fixture(scope="session")
def machines():
    """Machines of a few slices, of every kind and precision."""
    return _machines()


@st.composite
def _machines(draw):
    name = draw(
        st.sampled_from(
            ["mlcnn-fp32", "mlcnn-int8", "dcnn-fp32", "winograd-f2-fp32", "winograd-f4-fp32"]
        )
    )
    return replace(
        load_accelerator(name),
        slices=draw(st.sampled_from([1, 2, 4, 7, 16])),
        multipliers=draw(st.sampled_from([4, 8])),
        input_bytes=draw(st.sampled_from([2048, 4096, 32768])),
        weight_bytes=draw(st.sampled_from([4096, 65536])),
        accumulator_entries=draw(st.sampled_from([128, 512, 2048])),
        most_ways=draw(st.sampled_from([1, 2, 4])),
        input_adders=draw(st.sampled_from([8, 32, 128])),
        row_buffer_bytes=draw(st.sampled_from([1024, 16384])),
        dram_bytes_per_cycle=draw(st.sampled_from([1.0, 7.0, 64.0])),
        dram_latency=draw(st.sampled_from([0, 7, 60])),
    )


CROSSBARS = "type: crossbars\nname: bars\nclock_mhz: 250\ncrossbars: 40\nrows: 128\ncolumns: 64\n"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package of machines on the path, with the metadata that pip would write."""

    def make(package="outside", version="1.0", module="outside_machines", **types):
        site = tmp_path / f"site-{package}"
        metadata = site / f"{package}-{version}.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        )
        lines = (f"{name} = {module}:{attribute}" for name, attribute in types.items())
        (metadata / "entry_points.txt").write_text("\n".join(["[mlcnn.machines]", *lines, ""]))
        source = Path(__file__).parent / "outside_machines.py"
        (site / f"{module}.py").write_text(source.read_text())
        monkeypatch.syspath_prepend(site)
        # Every test imports its own copy.
        monkeypatch.delitem(sys.modules, module, raising=False)

    return make


@pytest.fixture
def crossbars(install, tmp_path):
    """The path of a file whose type a package from outside provides."""
    install(crossbars="Crossbars", transforms="Transforms", comparators="Comparators")
    path = tmp_path / "bars.yaml"
    path.write_text(CROSSBARS)
    return path


@pytest.fixture(scope="session")
def library():
    """The folder of the machines that come with the package."""
    return Path(str(importlib.resources.files("mlcnn.accelerators") / "library"))
