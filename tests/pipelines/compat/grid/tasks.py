from pathlib import Path


def load(product):
    Path(product).parent.mkdir(parents=True, exist_ok=True)
    Path(product).write_text("3 1 4 1 5 9 2 6")


def split(product, upstream, part):
    numbers = Path(upstream["load"]).read_text().split()
    Path(product).write_text(" ".join(numbers[part::2]))


def fit(product, upstream, depth, kind, seed):
    parts = upstream["part-*"]
    numbers = [int(n) for name in sorted(parts) for n in Path(parts[name]).read_text().split()]
    score = sum(numbers) * depth + len(kind) + seed
    Path(product["model"]).parent.mkdir(parents=True, exist_ok=True)
    Path(product["model"]).write_text(f"{kind} {depth} {score}")
    Path(product["log"]).write_text(f"fitted {kind}")


def best(product, upstream):
    models = upstream["fit-*"]
    scores = {name: int(Path(models[name]["model"]).read_text().split()[-1]) for name in models}
    Path(product).write_text(repr(sorted(scores.items(), key=lambda pair: -pair[1])))
