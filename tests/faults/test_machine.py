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
LIVES = 20

KERNEL_LIVES = 8
KERNEL_SHARE = 25
"""A life with real kernels costs as much as so many without: ``make machine`` leads fewer."""


def live(machine: type[Life] | type[KernelLife], lives: int, steps: int, share: int = 1) -> None:
    """Lead a number of lives, each of so many steps at most.

    Args:
        machine: what may happen in a life.
        lives: how many in CI.
        steps: of each, at most.
        share: of those that are asked for, one in so many is led.
    """
    asked = max(EXAMPLES // share, 1) if EXAMPLES else lives
    chosen = settings(
        max_examples=asked,
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
def test_many_lives():
    live(Life, lives=LIVES, steps=STEPS)


@pytest.mark.kernel
def test_lives_with_real_kernels():
    live(KernelLife, lives=KERNEL_LIVES, steps=4, share=KERNEL_SHARE)
