import json
from pathlib import Path


def select(product, columns, limit, resources_):
    schema = json.loads(Path(resources_["schema"]).read_text())
    Path(product).parent.mkdir(parents=True, exist_ok=True)
    Path(product).write_text(f"{[schema[name] for name in columns]} {limit}")


def region(product, region):
    Path(product).parent.mkdir(parents=True, exist_ok=True)
    Path(product).write_text(region)
