"""The text-picture model on backbones of proteins: sequence to torsions, torsions to sequence."""

from __future__ import annotations

from loopwright.loop.config import CorpusPlan, Learner
from loopwright.recipes.training import Training

_LEARN = "loopwright.train.wudao:learn"
_STRETCHES = "loopwright.scenarios.structures.stretches:build_stretches"
_RESIDUES = 32


def tiny() -> Training:
    """A minute or two on one core: what follows which torsions, and what residues say of it."""
    return Training(
        name="structure.tiny",
        learner=Learner(
            entry=_LEARN,
            corpora=(CorpusPlan(entry=_STRETCHES, config={"residues": _RESIDUES}),),
            config={
                "pictures": {"residues": _RESIDUES, "bins": [24, 24]},
                "text_tokens": _RESIDUES,
                "words": 64,
                "width": 96,
                "heads": 3,
                "layers": 3,
                "hidden": 256,
                "mixture": {"experts": 4, "chosen": 2, "hidden": 96, "bias_rate": 0.01},
                "steps": 360,
                "batch": 32,
                "learning_rate": 2e-3,
                "noise": 0.05,
                "drop_text": 0.2,
            },
        ),
    )
