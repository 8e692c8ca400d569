"""``loopwright keys ring``: who is trusted with what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.verbs.keys_new import RING_NAME
from loopwright.safety.keys import KeyRing, key_id


def main(
    *,
    keys: Path = Path("keys"),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """List the public keys of a ring, whose they are, and what they may sign.

    Args:
        keys: Folder of the key ring (ring.json).
        json_output: Print JSON.
    """
    ring = KeyRing.read(keys / RING_NAME)
    if json_output:
        print(json.dumps(ring.to_json()))
        return 0
    width = max((len(holder.person) for holder in ring), default=0)
    for holder in ring:
        roles = ", ".join(sorted(holder.roles))
        print(f"{key_id(holder.public)}  {holder.person:<{width}}  {roles}")
    return 0
