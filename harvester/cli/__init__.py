"""The command line: parsing, the terminal, exit codes. The only place that prints."""

from harvester.cli.app import main

__all__ = ["main"]
