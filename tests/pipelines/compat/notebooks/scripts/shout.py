# %% tags=["parameters"]
upstream = ["count"]
product = None

# %%
from pathlib import Path

Path(product).write_text("!" * int(Path(upstream["count"]["data"]).read_text()))
