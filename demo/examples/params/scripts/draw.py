# %% [markdown]
# # Degrees, day by day

# %% tags=["parameters"]
upstream = ["measure"]
product = None
city = None

# %%
import csv

with open(upstream["measure"], newline="") as file:
    rows = list(csv.DictReader(file))
print(city)
for row in rows:
    print(row["day"].rjust(3), "█" * int(row["degrees"]))
