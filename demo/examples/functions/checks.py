import json


def has_words(product):
    assert json.loads(product.read_text()), f"{product}: no words"
