"""What models made of tasks, as the ledger of a workspace keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from loopwright.store.ledger import Ledger

STAGE_NAME: Final = "score"
"""Of the stages whose receipts are scorings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scoring:
    """What a model made of one list of items."""

    name: str
    """Of the list."""
    facts: Mapping[str, Any]
    """Plain data: task and its digest, seed, scores, and what the model had learned."""
    receipt: str | None = None
    """Key of the stage under which a workspace keeps it."""

    @property
    def is_clean(self) -> bool:
        """Whether the model had learned none of the items, as far as was looked."""
        return not self.facts["contamination"]["learned"]

    @property
    def is_checked(self) -> bool:
        """Whether all was looked at that the model was trained on."""
        return not self.facts["contamination"]["missing"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedScoring:
    """A scoring that a workspace keeps."""

    model: str
    """Digest of its folder: that of the candidate, if it is one."""
    scored_at: float
    """Seconds since 1970."""
    scoring: Scoring


def recorded_scorings(ledger: Ledger) -> list[RecordedScoring]:
    """Return the scorings that a workspace keeps, oldest first.

    Raises:
        DamagedData: A receipt is not what was committed.
    """
    ended = {
        row.attempt.key: row.ended_at or row.began_at
        for row in ledger.attempts()
        if row.name == STAGE_NAME and row.outcome == "committed"
    }
    receipts = ledger.receipts(ended)
    found = []
    for key in sorted(receipts, key=lambda key: ended[key]):
        spec = ledger.spec(key)
        name = str(spec.params["list"])
        scoring = Scoring(name=name, facts=receipts[key].result.facts, receipt=key)
        model = spec.inputs["model"]
        found.append(RecordedScoring(model=model, scored_at=ended[key], scoring=scoring))
    return found
