from pathlib import Path


def shout(obj, product):
    Path(product).write_text(obj.upper())
