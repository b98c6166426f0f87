"""Figures and long runs: each module is a command, `python -m tests.benchmarks.NAME`, that prints what it measured."""
