"""The learner of text and pictures learns torsions too, alone or from a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopwright.core.errors import InvalidConfig, UnknownName
from loopwright.core.interface import NO_BODY
from loopwright.core.learner import FitJob
from loopwright.core.policy import Candidate
from loopwright.models.wudao.structures import StructureModel
from loopwright.scenarios.structures.stretches import STYLE, build_stretches, stretches
from loopwright.store.corpus import open_corpus, write_corpus
from loopwright.train.evaluate.structures import (
    HELIX,
    STRAND,
    Tables,
    angular_error_deg,
    believed,
    drawn_torsions,
    residues_of,
    states,
)
from loopwright.train.wudao import learn
from made_up_structures import EXTENDED_DEG, HELICAL_DEG, made_up_chains, write_structures

RESIDUES = 8
CHAINS = made_up_chains(residues=32)
FIT: dict[str, Any] = {
    "pictures": {"residues": RESIDUES, "bins": [12, 12]},
    "text_tokens": RESIDUES,
    "words": 64,
    "width": 32,
    "heads": 2,
    "layers": 2,
    "hidden": 64,
    "mixture": None,
    "steps": 250,
    "batch": 16,
    "noise": 0.0,
    "drop_text": 0.3,
    "precision": "float32",
}
SMALL = {**FIT, "width": 24, "hidden": 48, "steps": 150}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("structures")
    write_structures(folder, CHAINS)
    return folder


def corpus(folder: Path, part: Any = "train") -> Path:
    return build_stretches(RESIDUES, RESIDUES, folder, part=part)


def job(folder: Path, *corpora: Path, seed: int = 0) -> FitJob:
    return FitJob(
        episodes=(), seed=seed, out=folder / "out", scratch=folder / "scratch", corpora=corpora
    )


@pytest.fixture(scope="module")
def teacher(folder) -> Path:
    learn(FIT, job(folder / "teacher", corpus(folder)))
    return folder / "teacher/out"


class Held:
    """Stretches that nobody learned from."""

    def __init__(self) -> None:
        found = stretches(CHAINS, "report", residues=RESIDUES, every=RESIDUES)
        self.sequences = [stretch.sequence for stretch in found]
        self.torsions = np.stack([stretch.torsion_rad for stretch in found])

    def loss(self, folder: Path) -> float:
        model = StructureModel.load(folder)
        found = believed(model, self.sequences, model.encode(self.torsions), style=STYLE)
        return float(found.seeing_S.mean())


def test_torsions_are_learned_in_both_directions(teacher):
    held, model = Held(), StructureModel.load(teacher)
    code_SN = model.encode(held.torsions)
    found = believed(model, held.sequences, code_SN, style=STYLE)
    residue_SN = residues_of(held.sequences)
    tables = Tables.count(residue_SN, code_SN, model.pictures.config.codes, pull=1.0)
    assert found.seeing_S.mean() < found.alone_S.mean() - 0.1
    assert found.seeing_S.mean() < tables.nats(residue_SN, code_SN)[0].mean()
    assert found.residue_S.mean() < 0.5 * tables.residue_nats(residue_SN, code_SN)[0].mean()
    drawn = drawn_torsions(model, held.sequences, style=STYLE, seed=0)
    right = angular_error_deg(drawn[..., 1], held.torsions[..., 1]) < 60
    assert right[np.isfinite(held.torsions[..., 1])].mean() > 0.8
    assert Candidate.open(teacher).family == "structure"


@pytest.mark.slow
def test_a_student_with_few_data_gains_from_a_teacher(folder, teacher):
    held = Held()
    few = build_stretches(RESIDUES, 1000, folder, part="tune")  # the beginning of each chain
    learn(SMALL, job(folder / "alone", few))
    taught = {**SMALL, "teacher": {"path": str(teacher), "share": 0.9}}
    facts = learn(taught, job(folder / "taught", few))
    assert "sequences/taught" in facts["curves"]
    assert held.loss(folder / "taught/out") < held.loss(folder / "alone/out") - 0.05
    lineage = Candidate.open(folder / "taught/out").lineage
    assert lineage["teacher"] == Candidate.open(teacher).digest


def test_a_teacher_of_other_codes_is_refused_by_name(folder, teacher, tmp_path):
    other = {"pictures": {"residues": RESIDUES, "bins": [10, 10]}}
    config = {**SMALL, **other, "teacher": {"path": str(teacher)}}
    with pytest.raises(InvalidConfig, match=r"teacher .* has other codes than the student.*12, 12"):
        learn(config, job(tmp_path, corpus(folder)))


def test_a_teacher_that_lacks_a_style_is_refused_by_name(folder, teacher, tmp_path):
    known = open_corpus(corpus(folder))
    style = known._table.schema.get_field_index("style")
    predicted = known._table.set_column(style, "style", [["predicted"] * known.num_rows])
    path = write_corpus(tmp_path / "predicted.parquet", predicted, facts=known.facts).path
    with pytest.raises(UnknownName, match="predicted"):
        learn({**SMALL, "teacher": {"path": str(teacher)}}, job(tmp_path, path))


def test_a_teacher_of_pictures_cannot_teach_torsions(folder, tmp_path):
    painter = tmp_path / "painter"
    painter.mkdir()
    Candidate.seal(painter, family="wudao", interface=NO_BODY, config={})
    config = {**SMALL, "teacher": {"path": str(painter)}}
    with pytest.raises(InvalidConfig, match="family 'wudao', expected 'structure'"):
        learn(config, job(tmp_path / "job", corpus(folder)))


def test_a_vocabulary_without_room_for_residues_is_told(folder, tmp_path):
    with pytest.raises(InvalidConfig, match="give 'words' at least 64"):
        learn({**SMALL, "words": 10}, job(tmp_path, corpus(folder)))


def test_states_are_runs_in_their_regions():
    def run(*kinds: tuple[float, float, float]) -> list[int]:
        return states(np.radians(np.array(kinds))[None])[0].tolist()

    helical, extended = HELICAL_DEG, EXTENDED_DEG
    assert run(*[helical] * 4, *[extended] * 3) == [HELIX] * 4 + [STRAND] * 3
    assert run(*[helical] * 3, *[extended] * 2, *[helical] * 2) == [0] * 7
    assert run(*[(np.nan, -40.0, 180.0)] * 5) == [0] * 5
