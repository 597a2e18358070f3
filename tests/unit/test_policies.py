"""The tests of entries/test_policies.py under their former path, for scripts that name it; goes when none does."""

from __future__ import annotations

from .entries.test_policies import *  # noqa: F403
