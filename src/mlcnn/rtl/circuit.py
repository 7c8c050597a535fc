"""The hardware of a build as a circuit: Amaranth to Yosys's language, and from there to C++.

A program of its own (``python -m mlcnn.rtl.circuit FOLDER BUILD``), since pyosys prints to standard
output whatever it is told.
"""

import json
import re
import sys
from pathlib import Path

from amaranth.back import rtlil
from pyosys import libyosys  # pyright: ignore[reportAttributeAccessIssue]

from mlcnn.rtl.blocks.heart import Heart
from mlcnn.rtl.blocks.input_lanes import InputLanes
from mlcnn.rtl.blocks.output_lanes import OutputLanes
from mlcnn.rtl.blocks.ram import ram_verilog
from mlcnn.rtl.blocks.slice import Slice
from mlcnn.rtl.build import Build

__all__ = ["circuit", "main", "memories", "write_model"]

_RAM = re.compile(r"ram_\d+x\d+x\d+")
_REPEATED = ("slice", "input_lanes", "output_lanes")
"""Modules that are compiled once and used often; all else is one."""


def circuit(build: Build) -> str:
    """The hardware in Yosys's language, without its memories; repeated blocks are modules.

    Args:
        build: its sizes.
    """
    blocks = {
        "slice": Slice(build), "input_lanes": InputLanes(build), "output_lanes": OutputLanes(),
        "heart": Heart(build),
    }  # fmt: skip
    return "\n".join(
        rtlil.convert(
            block,
            name=name,
            emit_src=False,
            ports={port: (signal, None) for port, signal in block.ports.items()},
        )
        for name, block in blocks.items()
    )


def memories(text: str) -> str:
    """The modules of a circuit's memories, in Verilog."""
    return "".join(map(ram_verilog, sorted(set(_RAM.findall(text)))))


def write_model(build: Build, folder: Path) -> None:
    """Write ``heart.cc``, a model of the hardware for CXXRTL.

    Args:
        build: its sizes.
        folder: for it and what it is made of.
    """
    text = circuit(build)
    (folder / "heart.il").write_text(text, encoding="utf-8")
    (folder / "memories.v").write_text(memories(text), encoding="utf-8")
    design = libyosys.Design()
    for command in (
        f"read_verilog {folder / 'memories.v'}",
        f"read_rtlil {folder / 'heart.il'}",
        "hierarchy -top heart",
        "proc",
        *(f"setattr -mod -set keep_hierarchy 1 {name}" for name in _REPEATED),
        "flatten",
        f"write_cxxrtl -noflatten -g1 {folder / 'heart.cc'}",
    ):
        libyosys.run_pass(command, design)


def main() -> None:
    """Write the model of the build that the command line gives, into its folder."""
    folder, build = sys.argv[1:]
    write_model(Build(**json.loads(build)), Path(folder))


if __name__ == "__main__":
    main()
