# + tags=["parameters"]
upstream = {"load": None}
product = {"nb": "output/clean.ipynb", "data": "output/clean.txt"}
# -

from pathlib import Path

words = Path(upstream["load"]["data"]).read_text().split()
Path(product["data"]).write_text(" ".join(sorted(words)))
