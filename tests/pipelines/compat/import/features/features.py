# %% tags=["parameters"]
upstream = None
product = None

# %%
from pathlib import Path

numbers = [int(n) for n in Path(upstream["get"]).read_text().split()]
Path(product["data"]).write_text(" ".join(str(n * n) for n in numbers))
