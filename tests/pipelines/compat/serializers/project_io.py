try:
    from nbpipe.io import serializer, unserializer
except ImportError:
    from ploomber.io import serializer, unserializer


@serializer(fallback=True, defaults=[".txt", ".json"], unpack=True)
def write(obj, product):
    raise NotImplementedError("the fallback stands in for this")


@unserializer(fallback="pickle", defaults=[".txt", ".json"], unpack=True)
def read(product):
    raise NotImplementedError("the fallback stands in for this")
