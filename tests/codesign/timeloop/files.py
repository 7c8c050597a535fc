"""Small files of Timeloop's forms, written for the tests."""

PROBLEM = """\
problem:
  version: 0.4
  shape:
    name: Line
    dimensions: [C, K, R, P]
    coefficients:
    - {name: stride, default: 1}
    data_spaces:
    - name: Weights
      projection: [[[C]], [[K]], [[R]]]
    - name: Inputs
      projection: [[[C]], [[R], [P, stride]]]
    - name: Outputs
      projection: [[[K]], [[P]]]
      read_write: True
  instance: {C: 32, K: 32, R: 3, P: 16}
"""

FLAT = """\
architecture:
  version: 0.4
  nodes:
  - !Container
    name: system
    attributes: {technology: "40nm", kilo: 1024}
  - !Component
    name: MainMemory
    class: DRAM
    attributes: {width: 256, datawidth: 8}
  - !Container
    name: PE
    spatial: {meshX: 16}
  - !Component
    name: GlobalBuffer
    class: SRAM
    attributes: {depth: 32*kilo, width: 64, datawidth: 8}
  - !Component
    name: RegisterFile
    class: regfile
    attributes: {depth: 64, width: 8, datawidth: 8}
  - !Component
    name: MACC
    class: intmac
"""

TREE = """\
architecture:
  version: 0.3
  subtree:
  - name: system
    local:
    - name: MainMemory
      class: DRAM
      attributes: {block-size: 32, word-bits: 8}
    subtree:
    - name: PE[0..15]
      local:
      - name: GlobalBuffer
        class: SRAM
        attributes: {memory_depth: 32768, memory_width: 64, word-bits: 8, meshX: 16}
      - name: RegisterFile
        class: regfile
        attributes: {entries: 64, word-bits: 8, meshX: 16}
      - name: MACC
        class: intmac
        attributes: {meshX: 16}
"""

ENERGIES = """\
ERT:
  version: 0.4
  tables:
  - name: system.MainMemory[1..1]
    actions:
    - {name: read, arguments: {}, energy: 2048.0}
    - {name: write, arguments: {}, energy: 2048.0}
    - {name: update, arguments: {}, energy: 2048.0}
  - name: system.GlobalBuffer[1..16]
    actions:
    - {name: read, arguments: {}, energy: 43.353054}
    - {name: write, arguments: {}, energy: 30.878292}
    - {name: update, arguments: {}, energy: 30.878292}
    - {name: leak, arguments: {}, energy: 0.007972}
  - name: system.RegisterFile[1..16]
    actions:
    - {name: read, arguments: {}, energy: 0.42564}
    - {name: write, arguments: {}, energy: 0.42564}
    - {name: update, arguments: {}, energy: 0.42564}
  - name: system.MACC[1..16]
    actions:
    - {name: compute, arguments: {}, energy: 0.845}
"""

OLD_ENERGIES = """\
ERT:
  version: 0.2
  tables:
    system.MainMemory:
      idle: {arguments: null, energy: 0}
      read: {arguments: null, energy: 2048.0}
      write: {arguments: null, energy: 2048.0}
    system.PE.GlobalBuffer:
      read:
      - {arguments: {data_delta: 0}, energy: 12.5}
      - {arguments: {data_delta: 1}, energy: 43.353054}
      fill:
      - {arguments: {data_delta: 0}, energy: 8.5}
      - {arguments: {data_delta: 1}, energy: 30.878292}
      update:
      - {arguments: {data_delta: 1}, energy: 30.878292}
    system.PE.RegisterFile:
      read: {energy: 0.42564}
      write: {energy: 0.42564}
    system.PE.MACC:
      mac_gated: {energy: 0.04}
      mac_random: {energy: 0.845}
"""

AREAS = """\
ART:
  version: 0.4
  tables:
  - {name: "system.MainMemory[1..1]", area: 0.0}
  - {name: "system.GlobalBuffer[1..16]", area: 707084.0}
  - {name: "system.RegisterFile[1..16]", area: 887.84}
  - {name: "system.MACC[1..16]", area: 332.25}
"""

FLAT_MAPPING = """\
mapping:
- {target: MainMemory, type: temporal, factors: [R=1, P=1], permutation: [P, R, K, C]}
- {target: PE, type: spatial, factors: [K=16], permutation: [K]}
- {target: GlobalBuffer, type: temporal, factors: [R=3, K=2, C=32], permutation: [P, R, K, C]}
- {target: RegisterFile, type: temporal, factors: [P=16], permutation: [R, P, K, C]}
"""

TREE_MAPPING = """\
mapping:
- {target: MainMemory, type: temporal, factors: R=1 P=1 K=1 C=1, permutation: PRKC}
- {target: MainMemory, type: spatial, factors: "K16,R1 P1 C1", permutation: KPRC, split: 4}
- {target: GlobalBuffer, type: temporal, factors: R3 K2 C32, permutation: PRKC}
- {target: RegisterFile, type: temporal, factors: P=0, permutation: RPKC}
- {target: GlobalBuffer, type: datatype, keep: [Weights, Inputs, Outputs], bypass: []}
"""

KEPT = "MainMemory[WIO] K16X - GlobalBuffer[WIO] C32 K2 R3 - RegisterFile[WIO] P16"
"""What both mappings are."""


def write(folder, **texts):
    """Files of these texts; their paths in this order."""
    paths = []
    for name, text in texts.items():
        path = folder / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths
