"""Chains of proteins: residues and the torsions of their backbone, read from PDB files.

Shapes: L residues of a chain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from loopwright.core.errors import DamagedData

LETTERS = {
    "ALA": "A", "ARG": "R", "ASN": "N", "ASP": "D", "CYS": "C", "GLN": "Q", "GLU": "E",
    "GLY": "G", "HIS": "H", "ILE": "I", "LEU": "L", "LYS": "K", "MET": "M", "PHE": "F",
    "PRO": "P", "SER": "S", "THR": "T", "TRP": "W", "TYR": "Y", "VAL": "V",
    "MSE": "M", "SEP": "S", "TPO": "T", "PTR": "Y", "CSO": "C", "HYP": "P",
}  # fmt: skip
"""Residues to letters; modified ones to those that they were made from."""
LONGEST_BOND = 2.0
"""Angstrom from the carbon of one residue to the nitrogen of the next; 1.33 as a rule. Beyond it,
residues between the two are missing."""
_BACKBONE = ("N", "CA", "C")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Chain:
    """One chain of one entry of the Protein Data Bank."""

    name: str
    """``"1ABC_A"``: entry and chain."""
    protein: str
    """What the package calls the protein; chains of one are conformations of it."""
    sequence: str
    torsion_rad: np.ndarray
    """float32 ``(L, 3)``: phi, psi and omega (to the next residue); NaN where there is none."""


def read_chain(text: str, *, name: str, protein: str) -> Chain:
    """Read the first model of a file that holds one chain.

    Residues without a whole backbone, and those that are no amino acid, end a stretch: the
    torsions across them are NaN.

    Raises:
        DamagedData: There is no residue, or more than one chain.
    """
    places, letters, chains = [], [], set()
    for residue, atoms in _residues(text.splitlines()):
        chains.add(residue[0])
        letter = LETTERS.get(residue[2])
        if letter is not None and all(atom in atoms for atom in _BACKBONE):
            places.append([atoms[atom] for atom in _BACKBONE])
            letters.append(letter)
    if len(chains) != 1 or not letters:
        raise DamagedData(
            f"{name} holds {len(chains)} chains and {len(letters)} whole residues; expected one "
            "chain with residues"
        )
    torsion_rad = backbone_torsions(np.array(places))
    return Chain(name=name, protein=protein, sequence="".join(letters), torsion_rad=torsion_rad)


def backbone_torsions(places: np.ndarray) -> np.ndarray:
    """Return phi, psi and omega of each residue in radians, float32 ``(L, 3)``.

    Args:
        places: Of N, CA and C of every residue, in angstrom, ``(L, 3, 3)``.
    """
    nitrogen, alpha, carbon = (places[:, atom] for atom in range(3))
    torsion_rad = np.full((len(places), 3), np.nan)
    torsion_rad[1:, 0] = dihedral(carbon[:-1], nitrogen[1:], alpha[1:], carbon[1:])
    torsion_rad[:-1, 1] = dihedral(nitrogen[:-1], alpha[:-1], carbon[:-1], nitrogen[1:])
    torsion_rad[:-1, 2] = dihedral(alpha[:-1], carbon[:-1], nitrogen[1:], alpha[1:])
    apart = np.linalg.norm(nitrogen[1:] - carbon[:-1], axis=-1) > LONGEST_BOND
    torsion_rad[1:, 0][apart] = np.nan
    torsion_rad[:-1, 1:][apart] = np.nan
    return torsion_rad.astype(np.float32)


def dihedral(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return the angle about b-c of points ``(..., 3)``, in radians; 0 where a and d eclipse."""
    along = c - b
    along = along / np.linalg.norm(along, axis=-1, keepdims=True)
    before, after = a - b, d - c
    before = before - (before * along).sum(axis=-1, keepdims=True) * along
    after = after - (after * along).sum(axis=-1, keepdims=True) * along
    across = np.cross(along, before)
    return np.arctan2((across * after).sum(axis=-1), (before * after).sum(axis=-1))


_Residue = tuple[str, str, str]
"""Chain, number with insertion code, name."""


def _residues(lines: Iterable[str]) -> list[tuple[_Residue, dict[str, list[float]]]]:
    """Return the residues of the first model in order, each with the places of its atoms."""
    found: list[tuple[_Residue, dict[str, list[float]]]] = []
    for line in lines:
        if line.startswith("ENDMDL"):
            break
        if not line.startswith(("ATOM  ", "HETATM")):
            continue
        residue = (line[21], line[22:27], line[17:20].strip())
        if not found or found[-1][0] != residue:
            found.append((residue, {}))
        # Of alternate places the first is kept.
        found[-1][1].setdefault(
            line[12:16].strip(), [float(line[30:38]), float(line[38:46]), float(line[46:54])]
        )
    return found
