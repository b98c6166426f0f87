"""What people ask of the Registry at a terminal, beyond its lists: knows no dumps and prints nothing."""

from harvester.ask.bag import Directory, Excerpt, File, arrange, excerpt, within
from harvester.ask.identify import find
from harvester.ask.portrait import Chronicle, Happening, Portrait, portray

__all__ = [
    "Chronicle",
    "Directory",
    "Excerpt",
    "File",
    "Happening",
    "Portrait",
    "arrange",
    "excerpt",
    "find",
    "portray",
    "within",
]
