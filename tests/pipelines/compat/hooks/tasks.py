from pathlib import Path


def load(product, rows):
    Path(product).parent.mkdir(parents=True, exist_ok=True)
    Path(product).write_text("\n".join(str(row) for row in range(rows)))


def total(product, upstream):
    numbers = [int(line) for line in Path(upstream["load"]).read_text().splitlines()]
    Path(product["sum"]).write_text(str(sum(numbers)))
