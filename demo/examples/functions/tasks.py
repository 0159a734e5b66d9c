import json
from collections import Counter
from pathlib import Path

TEXT = "the notebook runs and the notebook is saved and the pipeline goes on"


def fetch(product):
    Path(product).write_text(TEXT)


def count(product, upstream):
    words = Path(upstream["fetch"]).read_text().split()
    Path(product).write_text(json.dumps(Counter(words)))


def top(product, upstream, how_many):
    counts = Counter(json.loads(Path(upstream["count"]).read_text()))
    lines = [f"{word}: {number}" for word, number in counts.most_common(how_many)]
    Path(product).write_text("\n".join(lines) + "\n")
