# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Report
#
# The scores, for those who do not open notebooks.

# %% tags=["parameters"]
upstream = ['fit']
product = None

# %%
import json
from pathlib import Path

scores = json.loads(Path(upstream["fit"]["scores"]).read_text())

# %%
text = f"# Iris\n\nAccuracy on {scores['rows']} unseen flowers: {scores['accuracy']:.1%}.\n"
Path(product["text"]).write_text(text)
print(text)
