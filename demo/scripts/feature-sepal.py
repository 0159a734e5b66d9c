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
# # Sepal area
#
# One feature: the area of the sepal, length by width.

# %% tags=["parameters"]
upstream = ['get']
product = None

# %%
import pandas as pd

df = pd.read_csv(upstream["get"]["data"])
df["sepal-area"] = df["sepal length (cm)"] * df["sepal width (cm)"]
df[["sepal-area"]].describe()

# %%
df[["sepal-area"]].to_csv(product["data"], index=False)
