# %% tags=["parameters"]
upstream = None
product = None
word = None

# %%
from pathlib import Path

count = Path("words.txt").read_text().split().count(word)
print(f"{word} is there {count} times")
Path(product["data"]).write_text(str(count))
