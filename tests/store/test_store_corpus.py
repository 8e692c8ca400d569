from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from loopwright.core.digest import digest_file
from loopwright.core.errors import InvalidConfig, UnknownName
from loopwright.store.corpus import (
    CorpusDamaged,
    CorpusFacts,
    CorpusMissing,
    CorpusVersion,
    Source,
    array_column,
    open_corpus,
    write_corpus,
)

FACTS = CorpusFacts(
    name="pairs",
    version=3,
    sources=(
        Source(
            package="p",
            version="1",
            integrity="sha512-x",
            licence="MIT",
            attribution="somebody",
            changes="none",
        ),
    ),
    settings={"px": 2, "styles": ["a"]},
)
PIXELS = np.arange(3 * 2 * 2 * 3, dtype=np.uint8).reshape(3, 2, 2, 3)


def table() -> pa.Table:
    field, column = array_column("pixels", PIXELS)
    texts = pa.array(["red heart", "", "红心"])
    lists = pa.array([["a", "b"], [], ["c"]], pa.list_(pa.string()))
    schema = pa.schema([("text", pa.string()), ("tags", pa.list_(pa.string())), field])
    return pa.Table.from_arrays([texts, lists, column], schema=schema)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_corpus(tmp_path / "pairs.parquet", table(), facts=FACTS)
    return tmp_path / "pairs.parquet"


def test_what_was_written_is_read_back(place: Path) -> None:
    corpus = open_corpus(place, name="pairs", version=3)
    assert corpus.facts == FACTS
    assert corpus.digest == digest_file(place)
    assert corpus.columns == ("text", "tags", "pixels")
    assert corpus.column("text").tolist() == ["red heart", "", "红心"]
    assert corpus.column("tags").tolist() == [("a", "b"), (), ("c",)]
    pixels = corpus.column("pixels")
    np.testing.assert_array_equal(pixels, PIXELS)
    pixels[:] = 0  # a column belongs to whoever asked for it
    np.testing.assert_array_equal(corpus.column("pixels"), PIXELS)
    with pytest.raises(UnknownName, match="did you mean 'pixels'"):
        corpus.column("pixel")


def test_other_readers_of_parquet_see_the_attribution(place: Path) -> None:
    stated = (pq.read_schema(place).metadata or {})[b"loopwright.corpus"]
    assert json.loads(stated)["sources"][0]["attribution"] == "somebody"


def test_equal_rows_have_equal_bytes(place: Path, tmp_path: Path) -> None:
    again = write_corpus(tmp_path / "again.parquet", table(), facts=FACTS)
    assert again.digest == open_corpus(place).digest


@given(
    hnp.arrays(
        st.sampled_from(["uint8", "int32", "float32", "float64", ">i4"]),
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4),
    )
)
def test_arrays_keep_shape_and_type(values: np.ndarray) -> None:
    field, column = array_column("x", values)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays([column], schema=pa.schema([field])), sink)
    read = pq.read_table(pa.BufferReader(sink.getvalue()))
    from loopwright.store.corpus import Corpus

    found = Corpus(path=Path("x"), digest="", facts=FACTS, table=read).column("x")
    assert found.shape == values.shape
    assert found.dtype == values.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, values)


def test_each_flipped_or_lost_byte_is_noticed(place: Path) -> None:
    whole = place.read_bytes()
    for data in (whole[:-1], whole + b"x", b"", whole[:40] + bytes([whole[40] ^ 1]) + whole[41:]):
        place.write_bytes(data)
        with pytest.raises(CorpusDamaged, match="make the corpus again"):
            open_corpus(place)


@pytest.mark.parametrize("said", ["", "[]", "{}", '{"format": 1, "sha256": 7}', "\x00"])
def test_a_damaged_companion_is_named(place: Path, said: str) -> None:
    place.with_suffix(".json").write_text(said)
    with pytest.raises(CorpusDamaged, match="digest"):
        open_corpus(place)


def test_half_a_corpus_is_none(place: Path) -> None:
    companion = place.with_suffix(".json").read_bytes()
    place.with_suffix(".json").unlink()
    with pytest.raises(CorpusMissing, match="no finished corpus"):
        open_corpus(place)
    place.with_suffix(".json").write_bytes(companion)
    place.unlink()
    with pytest.raises(CorpusMissing, match=r"pairs\.parquet is missing"):
        open_corpus(place)


def test_another_version_is_no_damage(place: Path) -> None:
    with pytest.raises(CorpusVersion, match="version 3, expected 4"):
        open_corpus(place, version=4)
    with pytest.raises(CorpusVersion, match="name 'pairs', expected 'other'"):
        open_corpus(place, name="other")
    companion = place.with_suffix(".json")
    companion.write_text(companion.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(CorpusVersion, match="layout 2, expected 1"):
        open_corpus(place)


def test_a_parquet_file_of_others_is_no_corpus(place: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), place)
    stated = {"format": 1, "sha256": digest_file(place)}
    place.with_suffix(".json").write_text(json.dumps(stated))
    with pytest.raises(CorpusDamaged, match="is no corpus"):
        open_corpus(place)


def test_the_name_ends_in_parquet(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"ends in \.parquet"):
        write_corpus(tmp_path / "pairs.json", table(), facts=FACTS)
