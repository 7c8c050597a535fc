"""Searches that `explore` is compared with; see ``benchmarks.exploring_peers``."""
