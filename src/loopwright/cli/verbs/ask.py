"""``loopwright ask``: an instruction for a fleet that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import httpx
import tyro

from loopwright.core.errors import StorageError
from loopwright.robot.access import Access
from loopwright.robot.fleet.site import FleetSite


def main(
    instruction: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="INSTRUCTION")],
    /,
    *,
    folder: Path = Path("runs/fleet"),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Ask a fleet that 'loopwright up' started, and wait until the task is over.

    Args:
        instruction: What to do, in English or Chinese.
        folder: The fleet's folder.
        json_output: Print the result as JSON.
    """
    site = FleetSite(folder.resolve())
    url, token = site.read_address(), Access.read(site.tokens).tokens["operate"]
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as client:
        task = str(_answer(client, "POST", "/tasks", json={"instruction": instruction})["task"])
        result: dict[str, Any] = {}
        while result.get("status") != "ended":
            result = _answer(client, "GET", f"/tasks/{task}/result?wait_s=30", timeout=60.0)
    if json_output:
        print(json.dumps(result, ensure_ascii=False))
    else:
        word = "refused" if result.get("refused") else result["outcome"]
        reason = f" ({result['reason']})" if result.get("reason") else ""
        print(f"{task} {word}: {instruction}{reason}")
    return 0 if result["outcome"] == "succeeded" else 1


def _answer(client: httpx.Client, method: str, path: str, **rest: Any) -> dict[str, Any]:
    try:
        answer = client.request(method, path, **rest)
        if answer.is_error:
            said = answer.json()
            raise StorageError(f"the fleet refused: {said.get('message', said)}")
        return answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise StorageError(
            f"the fleet at {client.base_url} does not answer: {error}; does it run? "
            "start it with: loopwright up tabletop"
        ) from error
