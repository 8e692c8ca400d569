"""Freeze which chains are learned from: clusters of near copies, dealt out by their digest.

Run once; its result is part of the repository. Prints the digest that belongs into ``splits.py``.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

from loopwright.core.digest import digest_bytes
from loopwright.scenarios.structures import splits
from loopwright.scenarios.structures.corpus import load_chains
from loopwright.scenarios.structures.identity import clusters

REPORT_SHARE, TUNE_SHARE = 0.25, 0.12


def main() -> None:
    """Cluster, deal out, write."""
    chains = list(load_chains().values())
    distinct = sorted({chain.sequence for chain in chains})
    number = dict(zip(distinct, clusters(distinct), strict=True))
    # Conformations of one protein belong together even where their sequences hardly overlap.
    joined: dict[str, int] = {}
    for chain in chains:
        old, new = number[chain.sequence], joined.setdefault(chain.protein, number[chain.sequence])
        number = {s: new if n == old else n for s, n in number.items()}
        joined = {p: new if n == old else n for p, n in joined.items()}
    grouped: defaultdict[int, list[str]] = defaultdict(list)
    for chain in chains:
        grouped[number[chain.sequence]].append(chain.name)
    named = {min(names): sorted(names) for names in grouped.values()}
    order = sorted(named, key=lambda name: digest_bytes(name.encode()))
    reported = round(REPORT_SHARE * len(order))
    tuned = reported + round(TUNE_SHARE * len(order))
    dealt = {"report": order[:reported], "tune": order[reported:tuned], "train": order[tuned:]}
    parts = {p: {name: named[name] for name in sorted(dealt[p])} for p in splits.PARTS}
    data = (json.dumps(parts, indent=1) + "\n").encode()
    (Path(splits.__file__).parent / "splits.json").write_bytes(data)
    size = {chain.name: len(chain.sequence) for chain in chains}
    for part, found in parts.items():
        names = [name for chosen in found.values() for name in chosen]
        residues = sum(size[name] for name in names)
        print(f"{part}: {len(found)} clusters, {len(names)} chains, {residues} residues")
    print(digest_bytes(data), file=sys.stdout)


if __name__ == "__main__":
    main()
