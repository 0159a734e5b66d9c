"""Never stale, never needless: whatever befalls a project, in any order.

CI tries the same lives every time. ``make machine`` tries others, as many as are asked for, and
prints the blob that brings a failing one back.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.kernels import KernelLife
from tests.faults.machine import Life

EXAMPLES = int(os.environ.get("NBPIPE_MACHINE_EXAMPLES", "0"))
"""So many lives at random; 0: those of CI."""

STEPS = 40
LIVES = 50


def live(machine: type[Life] | type[KernelLife], lives: int, steps: int) -> None:
    """Lead a number of lives, each of so many steps at most."""
    chosen = settings(
        max_examples=EXAMPLES or lives,
        stateful_step_count=steps,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)


def test_a_few_lives():
    live(Life, lives=2, steps=20)


@pytest.mark.process
def test_thousands_of_steps():
    live(Life, lives=LIVES, steps=STEPS)


@pytest.mark.kernel
def test_twenty_lives_with_real_kernels():
    live(KernelLife, lives=20, steps=4)
