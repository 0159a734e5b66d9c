from pathlib import Path


def numbers(product):
    Path(product).parent.mkdir(parents=True, exist_ok=True)
    Path(product).write_text("1\n2\n3\n")


def total(product, upstream):
    found = Path(upstream["numbers"]).read_text().split()
    Path(product["sum"]).write_text(str(sum(map(int, found))))
    Path(product["parts"]).mkdir(exist_ok=True)
    for number in found:
        Path(product["parts"], f"{number}.txt").write_text(number)
