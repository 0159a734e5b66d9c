def numbers():
    return [1, 2, 3, 4, 5]


def stats(upstream):
    found = upstream["numbers"]
    return {"mean": str(sum(found) / len(found)), "all": [sum(found), len(found)]}


def parts(upstream, size):
    found = upstream["numbers"]
    starts = range(0, len(found), size)
    return {f"{start}.json": found[start : start + size] for start in starts}


def half(upstream, part):
    return upstream["stats"]["all"][0] + part


def report(upstream):
    halves = sorted(upstream["half-*"].items())
    parts = sorted(upstream["parts"].items())
    return f"mean {upstream['stats']['mean']}\nhalves {halves}\nparts {parts}\n"
