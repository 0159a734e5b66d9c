# %% tags=["parameters"]
upstream = None
product = None

# %%
from pathlib import Path

Path(product["data"]).parent.mkdir(parents=True, exist_ok=True)
Path(product["data"]).write_text("made")
