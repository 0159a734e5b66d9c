from pathlib import Path


def training_data(product):
    Path(product).parent.mkdir(parents=True, exist_ok=True)
    Path(product).write_text("1 2 3 4")


def new_data(product):
    Path(product).parent.mkdir(parents=True, exist_ok=True)
    Path(product).write_text("5")


def fit(product, upstream):
    numbers = [int(n) for n in Path(upstream["features"]["data"]).read_text().split()]
    Path(product).write_text(str(sum(numbers) / len(numbers)))


def predict(product, upstream):
    mean = float(Path("output/model.txt").read_text())
    number = int(Path(upstream["features"]["data"]).read_text())
    Path(product).write_text(str(number > mean))
