"""The command line's process: ``nbpipe …`` and ``python -m nbpipe …``."""

from __future__ import annotations

import sys

from nbpipe.cli.idle import answered


def main() -> None:
    """Run the command line and exit with its code."""
    if answered(sys.argv[1:]):
        sys.exit(0)
    skip_slow_grammars()
    import signal

    from nbpipe.cli.app import run

    code = run()
    # One more Ctrl-C while the interpreter ends would kill it with another code.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def skip_slow_grammars() -> None:
    """Keep ``rfc3987_syntax`` out of this process.

    jsonschema imports it, when it is installed, to check one rarely used string format, and it
    compiles some 35 grammars at import: 1.7 s before nbformat is there (jsonschema issue 1428).
    jsonschema goes without it when the import fails, which is what None here causes. Done only
    in processes that are ours from the start; no code of the user's runs in them.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
