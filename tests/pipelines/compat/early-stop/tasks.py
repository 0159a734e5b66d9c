from pathlib import Path

try:
    from nbpipe.errors import DAGBuildEarlyStop
except ImportError:
    from ploomber.exceptions import DAGBuildEarlyStop


def look(product):
    Path(product).parent.mkdir(parents=True, exist_ok=True)
    Path(product).write_text(Path("inbox.txt").read_text())


def is_anything_new(product):
    if not Path(str(product)).read_text().strip():
        raise DAGBuildEarlyStop("the inbox is empty")


def work(product, upstream):
    Path(product).write_text(Path(upstream["look"]).read_text().upper())
