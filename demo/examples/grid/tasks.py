import json
from pathlib import Path


def fit(product, degree, window):
    error = abs(degree - 2) + 1 / window
    Path(product).write_text(json.dumps({"degree": degree, "window": window, "error": error}))


def best(product, upstream):
    models = [json.loads(Path(path).read_text()) for path in upstream["fit-*"].values()]
    Path(product).write_text(json.dumps(min(models, key=lambda model: model["error"])))
