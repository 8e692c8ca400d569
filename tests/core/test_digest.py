from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.digest import (
    canonical_json,
    digest_bytes,
    digest_file,
    digest_json,
    digest_tree,
)

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_plain_data_has_one_form_that_reads_back_equal(value) -> None:
    data = canonical_json(value)
    assert json.loads(data) == value
    assert canonical_json(json.loads(data)) == data


@given(st.dictionaries(st.text(), plain, min_size=2, max_size=5))
def test_the_order_of_keys_does_not_matter(value: dict) -> None:
    assert digest_json(dict(reversed(value.items()))) == digest_json(value)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_without_a_json_form_are_refused_with_their_place(number: float) -> None:
    with pytest.raises(ValueError, match=r"\$\.curve\[1\] is"):
        canonical_json({"curve": [0.0, number]})


def test_keys_that_are_no_text_are_refused() -> None:
    with pytest.raises(ValueError, match="keys of plain data are strings"):
        canonical_json({1: "one"})  # type: ignore[dict-item]


def test_a_known_digest() -> None:
    # SHA-256 of the two bytes "{}", as any other tool computes it.
    assert digest_json({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000  # more than one block
    (tmp_path / "f").write_bytes(data)
    assert digest_file(tmp_path / "f") == digest_bytes(data)


def test_a_tree_changes_with_bytes_and_names_but_not_with_other_suffixes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    source = tmp_path / "a" / "m.py"
    source.write_text("x = 1")
    first = digest_tree(tmp_path, ".py")
    (tmp_path / "a" / "m.pyc").write_text("cache")
    assert digest_tree(tmp_path, ".py") == first
    source.write_text("x = 2")
    second = digest_tree(tmp_path, ".py")
    source.rename(tmp_path / "a" / "n.py")
    assert len({first, second, digest_tree(tmp_path, ".py")}) == 3
