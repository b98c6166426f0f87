"""Tests of the client: each says what the Registry does, and what must come of it."""
