"""The hardware's blocks, in Amaranth: one a file."""
