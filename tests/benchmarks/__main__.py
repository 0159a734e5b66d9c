"""``python tests/benchmarks``: see ``--help``."""

from __future__ import annotations

import sys
from pathlib import Path

# The folder itself is on the path when Python runs it; its modules are those of a package.
sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from tests.benchmarks.cli import main  # noqa: E402

sys.exit(main())
