"""Run a command; the last line that is printed is the most memory it had resident, in bytes.

A process of its own: the system counts what its parent had at the time of the start as the
command's, and a bare interpreter has little.
"""

from __future__ import annotations

import os
import sys

pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(f"\n{usage.ru_maxrss * 1024}")
sys.exit(os.waitstatus_to_exitcode(status))
