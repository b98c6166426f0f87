"""Keeping the garbage collector out of the way of a harvest.

A harvest makes and drops objects by the million, hardly any of them in cycles: counting references frees them, and
the collector, which looks over them again and again, finds next to nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

RARELY = (50_000, 20, 100)
"""Its thresholds meanwhile: what does lie in cycles is still found, some hundred pages later."""

_before: list[tuple[int, int, int]] = []


@contextmanager
def rare_collections() -> Iterator[None]:
    """Have the collector run rarely. The last of those who ask for it at once puts its thresholds back."""
    _before.append(gc.get_threshold())
    gc.set_threshold(*RARELY)
    try:
        yield
    finally:
        first = _before[0]
        _before.pop()
        if not _before:
            gc.set_threshold(*first)


__all__ = ["rare_collections"]
