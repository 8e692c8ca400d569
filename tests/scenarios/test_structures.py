"""Structures of proteins: fetched to the byte, read to torsions, split by clusters."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DamagedData
from loopwright.scenarios.emoji.fetch import FetchFailed
from loopwright.scenarios.structures.chains import backbone_torsions, dihedral, read_chain
from loopwright.scenarios.structures.corpus import load_chains
from loopwright.scenarios.structures.fetch import fetch_wheel, structure_files
from loopwright.scenarios.structures.identity import clusters, identity
from loopwright.scenarios.structures.package import FOLDER, WHEEL
from loopwright.scenarios.structures.splits import PARTS, load_splits
from loopwright.scenarios.structures.stretches import build_stretches, stretches
from loopwright.store.corpus import open_corpus
from made_up_structures import made_up_chains, write_structures

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
SEQUENCES = st.text(LETTERS, min_size=1, max_size=30)


def placed(torsion_deg: float) -> list[np.ndarray]:
    """Four points with a torsion between them."""
    angle = np.radians(torsion_deg)
    return [
        np.array([1.0, 0.0, 0.0]),
        np.array([0.0, 0.0, 0.0]),
        np.array([0.0, 0.0, 1.5]),
        np.array([np.cos(angle), np.sin(angle), 1.5]),
    ]


@given(
    torsion_deg=st.floats(-179.0, 179.0),
    turn=st.tuples(*[st.floats(-1.0, 1.0)] * 4).filter(lambda q: sum(x * x for x in q) > 0.1),
)
def test_a_torsion_is_seen_from_everywhere_and_mirrored_in_a_mirror(torsion_deg, turn):
    w, x, y, z = np.array(turn) / np.linalg.norm(turn)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    points = [rotation @ point + 7 for point in placed(torsion_deg)]
    assert np.degrees(dihedral(*points)) == pytest.approx(torsion_deg, abs=1e-4)
    mirrored = [point * [1, 1, -1] for point in points]
    assert np.degrees(dihedral(*mirrored)) == pytest.approx(-torsion_deg, abs=1e-4)


HELIX = """\
ATOM      1  N   ALA A   1      -1.204  -0.514   0.643  1.00  0.00           N
ATOM      2  CA  ALA A   1       0.000   0.000   0.000  1.00  0.00           C
ATOM      3  C   ALA A   1       1.258  -0.522   0.685  1.00  0.00           C
ATOM      4  N   MSE A   2       2.234   0.361   0.874  1.00  0.00           N
ATOM      5  CA AMSE A   2       3.502   0.003   1.524  1.00  0.00           C
ATOM      6  CA BMSE A   2       9.502   0.003   1.524  1.00  0.00           C
ATOM      7  C   MSE A   2       4.236  -1.097   0.767  1.00  0.00           C
ATOM      8  N   GLY A   9      40.000   0.000   0.000  1.00  0.00           N
ATOM      9  CA  GLY A   9      41.000   1.000   0.000  1.00  0.00           C
ATOM     10  C   GLY A   9      42.000   1.000   1.000  1.00  0.00           C
HETATM   11  O   HOH A  10       0.000   0.000   0.000  1.00  0.00           O
ENDMDL
ATOM     12  N   ALA B   1      -1.204  -0.514   0.643  1.00  0.00           N
"""


def test_a_chain_is_read_with_a_gap_where_residues_are_missing():
    chain = read_chain(HELIX, name="1ABC_A", protein="P")
    assert chain.sequence == "AMG"
    there = np.isfinite(chain.torsion_rad)
    assert there.tolist() == [[False, True, True], [True, False, False], [False, False, False]]


def test_a_file_of_two_chains_is_told():
    with pytest.raises(DamagedData, match="1ABC_A holds 2 chains"):
        read_chain(HELIX.replace("GLY A", "GLY B"), name="1ABC_A", protein="P")


def test_torsions_are_those_of_an_ideal_helix():
    # Rise 1.5 angstrom and 100 degrees a residue; radii and phases of a standard alpha helix.
    places = []
    for residue in range(12):
        turn = np.radians(100 * residue)
        for radius, phase_deg, rise in ((1.55, -28.0, -0.87), (2.28, 0.0, 0.0), (1.66, 26.0, 1.1)):
            angle = turn + np.radians(phase_deg)
            places.append([radius * np.cos(angle), radius * np.sin(angle), 1.5 * residue + rise])
    torsion_deg = np.degrees(backbone_torsions(np.array(places).reshape(12, 3, 3)))
    inner = torsion_deg[1:-1]
    assert np.allclose(inner[:, 0], -60, atol=15)
    assert np.allclose(inner[:, 1], -47, atol=15)
    assert (np.abs(inner[:, 2]) > 165).all()


@given(one=SEQUENCES, other=SEQUENCES)
def test_identity_is_mutual_and_between_none_and_all(one, other):
    assert 0.0 <= identity(one, other) <= 1.0
    assert identity(one, other) == pytest.approx(identity(other, one), abs=0.35)
    assert identity(one, one) == 1.0
    assert identity(one, other + one + other) == 1.0 or len(one) < 4


def test_near_copies_of_near_copies_are_one_cluster():
    random = np.random.default_rng(0)
    first, stranger = ("".join(random.choice(list(LETTERS), 80)) for _ in range(2))
    second = first[:40] + stranger[:5] + first[45:]
    third = "GGSGGS" + second[20:]
    assert clusters([first, stranger, second, third]) == [0, 1, 0, 0]


def test_no_chain_is_on_two_sides():
    splits = load_splits()
    chains = [chain for part in PARTS for chain in splits.cluster_of(part)]
    assert len(chains) == len(set(chains)) == 177
    assert len(splits.clusters["report"]) == 16


def test_stretches_of_a_part_come_from_its_chains_alone():
    found = stretches(made_up_chains(residues=70), "tune", residues=32, every=32)
    assert {stretch.chain for stretch in found} == set(load_splits().cluster_of("tune"))
    assert len(found) == 2 * len(load_splits().cluster_of("tune"))


def test_a_corpus_counts_each_cluster_by_its_residues_once(tmp_path):
    chains = made_up_chains(residues=40)
    write_structures(tmp_path, chains)
    assert load_chains(tmp_path)["2YQC_A"].sequence == chains["2YQC_A"].sequence
    corpus = open_corpus(build_stretches(residues=32, every=8, cache=tmp_path))
    clusters_shown = len(load_splits().clusters["train"])
    assert corpus.column("weight").sum() == pytest.approx(2 * clusters_shown)
    assert corpus.column("torsions").shape[1:] == (32, 3)
    assert all(len(text.split()) == 32 for text in corpus.column("text.protein"))


def test_other_bytes_than_the_pinned_ones_are_not_used(tmp_path, monkeypatch):
    served = tmp_path / "served"
    served.mkdir()
    (served / WHEEL).write_bytes(b"not the wheel that was published")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(served))
    (tmp_path / WHEEL).write_bytes(b"half of it")
    with pytest.raises(FetchFailed, match="bioemu-benchmarks"):
        fetch_wheel(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["served"]


def test_structures_are_read_out_of_the_wheel_by_name(tmp_path):
    wheel = tmp_path / WHEEL
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{FOLDER}b/reference/P2/2ABC_A.pdb", HELIX)
        archive.writestr(f"{FOLDER}b/reference/P1/1abc_A.pdb", HELIX)
        archive.writestr("bioemu_benchmarks/elsewhere/3ABC_A.pdb", HELIX)
        archive.writestr(f"{FOLDER}README.md", "text")
    assert [name for name, _ in structure_files(wheel)] == [
        "b/reference/P1/1abc_A.pdb",
        "b/reference/P2/2ABC_A.pdb",
    ]
    wheel.write_bytes(wheel.read_bytes()[:-40])
    with pytest.raises(DamagedData, match="fetch it again"):
        list(structure_files(wheel))
