"""The dataset card of a leaderboard's repository: what it is, and which tables it shows."""

_CARD = """---
pretty_name: {title}
tags:
- semantic-correspondence
- robustness
- benchmark
- leaderboard
configs:
- config_name: results
  data_files: results.parquet
  default: true
- config_name: pairs
  data_files: pairs/*.parquet
---

# {title}

How well do semantic-correspondence models still find the right points when the pictures are noisy,
blurred, snowed on or badly compressed? Every number here was counted again from the submitted
answers before it was accepted.

```python
from datasets import load_dataset

results = load_dataset("{repository}", "results", split="train")  # a row per entry and protocol
pairs = load_dataset("{repository}", "pairs", split="train")  # what was asked, and the truth
```

## Sending an entry

```sh
spairc eval --model NAME --root SPair-71k        # all 76 conditions
spairc push runs/NAME --repo {repository}
```

This opens a pull request with one new folder, `entries/NAME-HASH`. A program checks it:

```sh
spairc leaderboard check --pr N --repo {repository}
```

`recomputed` means that the checker counted all 76 scores and everything that follows from them
again from the answers, and got what the entry says. `reproduced` means that somebody ran the public
weights again and got it.

## Files

| file | what |
|---|---|
| `results.parquet` | a row per entry and protocol; made from the entries |
| `benchmarks/ID.json` | what is ranked: dataset, pair list, pictures, corrupted side, version |
| `pairs/HASH.parquet` | pairs with points, boxes and sizes |
| `entries/NAME-HASH/entry.json` | what was claimed, as it was sent |
| `entries/NAME-HASH/predictions/*.parquet` | every answer, in pixels of the original target |
| `entries/NAME-HASH/status.json` | what the checker found |
"""


def card(repository: str) -> str:
    """Return README.md of a new repository.

    Args:
        repository: "organisation/name".
    """
    return _CARD.format(title=repository.partition("/")[2], repository=repository)
