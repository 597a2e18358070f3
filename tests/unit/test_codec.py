"""The tests of entries/test_codec.py under their former path, for scripts that name it; goes when none does."""

from __future__ import annotations

from .entries.test_codec import *  # noqa: F403
