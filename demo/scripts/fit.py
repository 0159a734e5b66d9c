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
# # Fit
#
# A decision tree on the measurements and both features.

# %% tags=["parameters"]
upstream = ['get', 'feature-sepal', 'feature-petal']
product = None
test_size = 0.33
seed = 42

# %%
import json
import pickle
from pathlib import Path

import pandas as pd
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

# %%
df = pd.read_csv(upstream["get"]["data"])
sepal = pd.read_csv(upstream["feature-sepal"]["data"])
petal = pd.read_csv(upstream["feature-petal"]["data"])
df = df.join(sepal).join(petal)

X = df.drop("target", axis="columns")
y = df["target"]
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=test_size, random_state=seed
)

# %%
model = DecisionTreeClassifier(random_state=seed)
model.fit(X_train, y_train)
y_pred = model.predict(X_test)
ConfusionMatrixDisplay.from_predictions(y_test, y_pred);

# %%
scores = {"accuracy": round(accuracy_score(y_test, y_pred), 4), "rows": len(y_test)}
Path(product["model"]).write_bytes(pickle.dumps(model))
Path(product["scores"]).write_text(json.dumps(scores))
scores
