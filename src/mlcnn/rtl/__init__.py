"""The accelerator as hardware: blocks in Amaranth, their simulation, and what it must equal."""
