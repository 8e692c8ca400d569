from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loopwright.store.exchange.lerobot_stats import (
    QUANTILES,
    image_stats,
    merged,
    sampled_rows,
    series_stats,
)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 4), st.integers(0, 99))
def test_merged_moments_are_those_of_the_whole(lengths: list[int], width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.normal(rng.uniform(-5, 5), 2, (n, width)) for n in lengths]
    whole = series_stats(np.concatenate(parts))
    found = merged([series_stats(part) for part in parts])
    for name in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(found[name], whole[name], atol=1e-9)
    for name in QUANTILES:
        assert (found[name] >= whole["min"] - 1e-9).all()
        assert (found[name] <= whole["max"] + 1e-9).all()


@given(st.integers(1, 6), st.integers(0, 99))
def test_merging_one_after_the_other_is_merging_all(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [series_stats(rng.normal(size=(int(rng.integers(1, 9)), 2))) for _ in range(count)]
    running = parts[0]
    for part in parts[1:]:
        running = merged([running, part])
    for name, values in merged(parts).items():
        np.testing.assert_allclose(running[name], values, atol=1e-9)


@given(st.integers(1, 12), st.integers(16, 40), st.integers(16, 40), st.integers(0, 99))
def test_image_statistics_are_those_of_every_pixel(
    num_frames: int, height_px: int, width_px: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (num_frames, height_px, width_px, 3), dtype=np.uint8)
    found = image_stats(frames)
    pixels = series_stats(frames.reshape(-1, 3) / 255.0)
    assert found["count"] == [num_frames]
    for name in ("min", "max", "mean", "std", *QUANTILES):
        assert found[name].shape == (3, 1, 1)
        np.testing.assert_allclose(found[name].ravel(), pixels[name], atol=1e-9)


def test_bright_images_keep_their_deviation() -> None:
    """Squares of uint8 overflow; LeRobot 0.4.4 gives 0 here."""
    frames = np.full((4, 16, 16, 3), 200, np.uint8)
    frames[:, ::2] = 100
    np.testing.assert_allclose(image_stats(frames)["std"].ravel(), 50 / 255)


@given(st.integers(1, 100_000))
def test_samples_reach_from_the_first_to_the_last_frame(num_rows: int) -> None:
    rows = sampled_rows(num_rows)
    assert (rows[0], rows[-1]) == (0, num_rows - 1)
    assert (np.diff(rows) > 0).all()
    assert len(rows) == num_rows if num_rows <= 100 else 100 <= len(rows) <= 10_000
