from pathlib import Path


def load(product, rows, columns):
    lines = [",".join(columns)]
    lines += [",".join(str(row * len(name)) for name in columns) for row in range(rows)]
    Path(product).parent.mkdir(parents=True, exist_ok=True)
    Path(product).write_text("\n".join(lines))


def scale(product, upstream, by, label):
    lines = Path(upstream["load"]).read_text().splitlines()[1:]
    scaled = [str(float(cell) * by) for line in lines for cell in line.split(",")]
    Path(product).write_text("\n".join([label, *scaled]))
