"""Hypothesis: few examples on every save, the same ones in CI, and no deadline by the clock on a busy machine."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "kecs",
    max_examples=25,
    stateful_step_count=30,
    deadline=None,  # the machine is shared
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],  # the same
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "kecs"))
