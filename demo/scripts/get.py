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
# # Get
#
# The iris measurements, as one table with the species as its target.

# %% tags=["parameters"]
upstream = None
product = None

# %%
from sklearn.datasets import load_iris

raw = load_iris(as_frame=True)
df = raw["data"]
df["target"] = raw["target"]
df.head()

# %%
df.to_csv(product["data"], index=False)
