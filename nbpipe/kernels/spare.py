"""A kernel that is started before anybody needs it. Run as a script by the kernel's own Python.

It imports what every kernel imports, then waits for one line of JSON: the arguments of the kernel,
its working folder, its environment where that differs, and the log for what bypasses its channels.
So it uses nothing but the standard library and ipykernel, and runs wherever ipykernel does.
"""

import json
import os
import sys


def main() -> None:
    """Wait to be needed, then be the kernel. Without a line, nobody will ever need it."""
    del sys.path[0]  # the folder of this file
    from importlib.util import find_spec

    from ipykernel import kernelapp

    line = sys.stdin.readline()
    if not line:
        return
    told = json.loads(line)
    log = os.open(told["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for number in (1, 2):
        os.dup2(log, number)
    os.close(log)
    os.chdir(told["folder"])
    for name, value in told["environ"].items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    launcher = find_spec("ipykernel_launcher")
    assert launcher is not None
    sys.argv = [str(launcher.origin), *told["arguments"]]
    sys.orig_argv = [sys.executable, "-m", "ipykernel_launcher", *told["arguments"]]
    kernelapp.launch_new_instance()


if __name__ == "__main__":
    main()
