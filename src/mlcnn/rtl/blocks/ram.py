"""A memory with one port to read and one to write: a module of its own, for macros to stand in."""

from amaranth.hdl import ClockSignal, Elaboratable, Instance, Signal

__all__ = ["Ram", "ram_verilog"]


class Ram(Elaboratable):
    """A word is there in the cycle after ``read``; of one written in that cycle, the old one.

    Attributes:
        width: bits of a word.
        depth: words.
        part: bits that are written together, a divisor of the width.
        read, read_address, word: the port to read; the word stays until the next read.
        write, write_address, data: the port to write, with a bit of ``write`` for each part.
    """

    def __init__(self, width: int, depth: int, part: int | None = None) -> None:
        self.width, self.depth, self.part = width, depth, part or width
        self.read, self.read_address = Signal(), Signal(range(depth))
        self.write, self.write_address = Signal(width // self.part), Signal(range(depth))
        self.word, self.data = Signal(width), Signal(width)

    @property
    def module(self) -> str:
        """Name of the module of memories of this size."""
        return f"ram_{self.width}x{self.depth}x{self.part}"

    def elaborate(self, platform: object) -> Instance:
        """The module's instance."""
        del platform
        return Instance(
            self.module,
            i_clk=ClockSignal(), i_read=self.read, i_read_address=self.read_address,
            o_word=self.word, i_write=self.write, i_write_address=self.write_address,
            i_data=self.data,
        )  # fmt: skip


def ram_verilog(name: str) -> str:
    """The module of a name that ``Ram.module`` gives, in Verilog."""
    width, depth, part = (int(one) for one in name.removeprefix("ram_").split("x"))
    address = max((depth - 1).bit_length(), 1)
    writes = "".join(
        f"    if (write[{number}]) words[write_address][{number * part} +: {part}] <= "
        f"data[{number * part} +: {part}];\n"
        for number in range(width // part)
    )
    return (
        f"module {name}(input clk, input read, input [{address - 1}:0] read_address, "
        f"output reg [{width - 1}:0] word,\n"
        f"    input [{width // part - 1}:0] write, input [{address - 1}:0] write_address, "
        f"input [{width - 1}:0] data);\n"
        f"  reg [{width - 1}:0] words [{depth - 1}:0];\n"
        "  always @(posedge clk) begin\n"
        f"    if (read) word <= words[read_address];\n{writes}"
        "  end\nendmodule\n"
    )
