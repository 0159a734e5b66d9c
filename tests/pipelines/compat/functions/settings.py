def columns():
    return ["id", "name"]


def limit(factor):
    return 2 * factor


def regions():
    return ["north", "south"]
