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
# # Petal area
#
# One feature: the area of the petal, length by width.

# %% tags=["parameters"]
upstream = ['get']
product = None

# %%
import pandas as pd

df = pd.read_csv(upstream["get"]["data"])
df["petal-area"] = df["petal length (cm)"] * df["petal width (cm)"]
df[["petal-area"]].describe()

# %%
df[["petal-area"]].to_csv(product["data"], index=False)
