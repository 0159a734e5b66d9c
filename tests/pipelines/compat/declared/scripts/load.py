# + tags=["parameters"]
upstream = None
product = {"nb": "output/load.ipynb", "data": "output/load.txt"}
# -

from pathlib import Path

Path(product["data"]).parent.mkdir(parents=True, exist_ok=True)
Path(product["data"]).write_text("3 1 2")
