"""What a model of backbones knows: torsions from residues, residues from torsions.

Beside the model stand two tables counted from what it was trained on: how often each code occurs,
and how often with each residue, which is the Ramachandran map of each residue. They know the
residue itself and nothing around it.

Shapes: S stretches, N residues of each, A torsions of a residue, C codes, K kinds of residue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loopwright.core.errors import InvalidConfig
from loopwright.core.seeds import generator
from loopwright.models.wudao.sample import Painting, Prompt
from loopwright.models.wudao.structures import (
    AS_BELIEVED,
    LANGUAGE,
    RESIDUES,
    StructureModel,
    as_text,
)

OTHER, HELIX, STRAND = range(3)
"""States of a residue."""
_HELIX_RUN, _STRAND_RUN = 4, 3
"""Residues in a row, at least, whose torsions are those of a helix or of a strand."""
_AT_ONCE = 64
_PRIOR = 0.5
"""Times that each code is counted before any was seen."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tables:
    """Chances of codes that were counted."""

    chance_C: np.ndarray
    """Of each code."""
    chance_KC: np.ndarray
    """Of each code, with each kind of residue."""
    frequent_K: np.ndarray
    """Share of each kind of residue."""

    @classmethod
    def count(
        cls, residue_SN: np.ndarray, code_SN: np.ndarray, codes: int, *, pull: float
    ) -> Tables:
        """Count codes.

        Args:
            residue_SN: Kinds of residues, as :func:`residues_of` returns them.
            code_SN: Their codes.
            codes: C.
            pull: How many residues of a kind the chances of all kinds together count as.
        """
        chance_C = np.bincount(code_SN.ravel(), minlength=codes) + _PRIOR
        chance_C = chance_C / chance_C.sum()
        place = residue_SN.ravel() * codes + code_SN.ravel()
        count_KC = np.bincount(place, minlength=len(RESIDUES) * codes).reshape(-1, codes)
        total_K1 = count_KC.sum(axis=1, keepdims=True)
        return cls(
            chance_C=chance_C,
            chance_KC=(count_KC + pull * chance_C) / (total_K1 + pull),
            frequent_K=(total_K1[:, 0] + _PRIOR) / (total_K1 + _PRIOR).sum(),
        )

    def nats(self, residue_SN: np.ndarray, code_SN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return nats a code of each stretch, float ``(S,)``: of either table."""
        alone_S = -np.log(self.chance_C[code_SN]).mean(axis=1)
        return alone_S, -np.log(self.chance_KC[residue_SN, code_SN]).mean(axis=1)

    def residue_nats(
        self, residue_SN: np.ndarray, code_SN: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return nats a residue, float ``(S,)``: by its share alone, and given its own code."""
        believed_KC = self.chance_KC * self.frequent_K[:, None]
        believed_KC = believed_KC / believed_KC.sum(axis=0)
        alone_S = -np.log(self.frequent_K[residue_SN]).mean(axis=1)
        return alone_S, -np.log(believed_KC[residue_SN, code_SN]).mean(axis=1)

    def likeliest_residues(self, code_SN: np.ndarray) -> np.ndarray:
        """Return the likeliest kind of residue for each code alone, int64 ``(S, N)``."""
        return (self.chance_KC * self.frequent_K[:, None]).argmax(axis=0)[code_SN]

    def draw(self, residue_SN: np.ndarray, *, seed: int) -> np.ndarray:
        """Draw a code for each residue by its kind, int64 ``(S, N)``."""
        random_SN = generator(seed, "tables").random(residue_SN.shape)
        total_KC = self.chance_KC.cumsum(axis=1)
        drawn_SN = np.zeros_like(residue_SN)
        for kind in range(len(RESIDUES)):
            mine = residue_SN == kind
            drawn_SN[mine] = np.searchsorted(total_KC[kind], random_SN[mine] * total_KC[kind, -1])
        return drawn_SN


def residues_of(sequences: Sequence[str]) -> np.ndarray:
    """Return the kinds of the residues of sequences of equal length, int64 ``(S, N)``."""
    return np.array([[RESIDUES.index(letter) for letter in sequence] for sequence in sequences])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Believed:
    """What a model finds unlikely about stretches, in nats."""

    seeing_S: np.ndarray
    """A code, with the sequence given."""
    alone_S: np.ndarray
    """A code, without it; the difference is what the sequence is worth."""
    residue_S: np.ndarray
    """A residue, with the torsions given."""


def believed(
    model: StructureModel, sequences: Sequence[str], code_SN: np.ndarray, *, style: str
) -> Believed:
    """Return how unlikely a model finds stretches, in both directions.

    Args:
        model: Whom to ask.
        sequences: S of them.
        code_SN: Their codes, as :meth:`StructureModel.encode` returns them.
        style: How the structures are known, as the corpus names it.
    """
    seeing, alone, residue = [], [], []
    for begin in range(0, len(sequences), _AT_ONCE):
        mine = slice(begin, begin + _AT_ONCE)
        prompts = [Prompt(as_text(sequence), LANGUAGE, style) for sequence in sequences[mine]]
        seeing.append(model.code_nats(prompts, code_SN[mine]))
        alone.append(model.code_nats(prompts, code_SN[mine], without_text=True))
        # Of the text's tokens the last is its end, which a model of stretches of one length knows.
        per_token = model.text_nats(prompts, code_SN[mine])
        residue.append(per_token * (code_SN.shape[1] + 1) / code_SN.shape[1])
    return Believed(
        seeing_S=np.concatenate(seeing),
        alone_S=np.concatenate(alone),
        residue_S=np.concatenate(residue),
    )


def drawn_torsions(
    model: StructureModel,
    sequences: Sequence[str],
    *,
    style: str,
    seed: int,
    how: Painting = AS_BELIEVED,
) -> np.ndarray:
    """Draw torsions for each sequence once, float32 ``(S, N, A)``, in radians."""
    parts = [
        model.fold(sequences[begin : begin + _AT_ONCE], style=style, seed=seed + begin, how=how)
        for begin in range(0, len(sequences), _AT_ONCE)
    ]
    return np.concatenate(parts)


def states(torsion_SNA: np.ndarray) -> np.ndarray:
    """Return the state of each residue by its torsions and its neighbours', int64 ``(S, N)``.

    A helix is a run of residues in the right-handed helical region of the Ramachandran map, a
    strand one in the extended region. Nothing looks at hydrogen bonds, so this is not what
    Kabsch & Sander define, but drawn and true torsions are held to one measure.

    Args:
        torsion_SNA: Radians; the first two are phi and psi. NaN belongs to no region.
    """
    phi_SN, psi_SN = np.degrees(torsion_SNA[..., 0]), np.degrees(torsion_SNA[..., 1])
    helical_SN = (phi_SN > -130) & (phi_SN < -30) & (psi_SN > -90) & (psi_SN < 10)
    extended_SN = (phi_SN < -45) & ((psi_SN > 90) | (psi_SN < -150))
    state_SN = np.full(phi_SN.shape, OTHER)
    state_SN[_in_runs(helical_SN, _HELIX_RUN)] = HELIX
    state_SN[_in_runs(extended_SN, _STRAND_RUN)] = STRAND
    return state_SN


def angular_error_deg(torsion_rad: np.ndarray, other_rad: np.ndarray) -> np.ndarray:
    """Return how far angles are apart the shorter way round, in degrees; NaN where one is NaN."""
    apart = np.asarray(torsion_rad, float) - np.asarray(other_rad, float)
    return np.degrees(np.abs((apart + np.pi) % (2 * np.pi) - np.pi))


def _in_runs(chosen_SN: np.ndarray, least: int) -> np.ndarray:
    """Return which of the chosen stand in a run of at least so many."""
    count = chosen_SN.shape[1]
    if least > count:
        raise InvalidConfig(f"stretches of {count} residues have no runs of {least}")
    begins_SN = np.stack(
        [chosen_SN[:, begin : begin + least].all(axis=1) for begin in range(count - least + 1)],
        axis=1,
    )
    found_SN = np.zeros_like(chosen_SN)
    for offset in range(least):
        found_SN[:, offset : offset + begins_SN.shape[1]] |= begins_SN
    return found_SN
