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
# # Explore
#
# What separates the species? The petals do.

# %% tags=["parameters"]
upstream = ['get']
product = None

# %%
import matplotlib.pyplot as plt
import pandas as pd

df = pd.read_csv(upstream["get"]["data"])

# %%
figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
for species, part in df.groupby("target"):
    axes.scatter(part["petal length (cm)"], part["petal width (cm)"], s=14, label=f"species {species}")
axes.set_xlabel("petal length (cm)")
axes.set_ylabel("petal width (cm)")
axes.legend()
figure.savefig(product["plot"], dpi=100)
