from __future__ import annotations

import numpy as np

from loopwright.train.augment import moving, recoloured, redressed


def _scene(steps: int = 9, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """A grey wall with a still red square, past which a white square moves."""
    frames = np.full((steps, side, side, 3), 90, np.uint8)
    frames[:, 4:10, 4:10] = (200, 30, 30)
    where = np.zeros((steps, side, side), bool)
    for step in range(steps):
        where[step, 20:24, 2 * step : 2 * step + 4] = True
    frames[where] = 250
    return frames, where


def test_only_what_moves_is_marked_and_one_pixel_around_it() -> None:
    frames, where = _scene()
    marked = moving(frames)
    assert marked[where].all()
    assert not marked[:, :18].any(), "the still square is no part of the body"
    assert marked.sum() < 3 * where.sum()


def test_the_scene_keeps_its_colours_when_only_the_body_is_redressed() -> None:
    frames, _ = _scene()
    moved = moving(frames)
    out = redressed(frames, moved, np.random.default_rng(0), scene=0.0, body=1.0, kept=0.0)
    assert np.array_equal(out[~moved], frames[~moved])
    changed = (out != frames).any(axis=-1)
    assert changed[moved].mean() > 0.9
    kept = redressed(frames, moved, np.random.default_rng(0), scene=0.0, body=1.0, kept=1.0)
    assert np.array_equal(kept, frames)


def test_all_images_of_a_row_change_alike_and_rows_differ() -> None:
    frames = np.repeat(_scene()[0][:1], 2, axis=0)
    rows = np.stack([frames, frames])
    out = recoloured(rows, np.random.default_rng(0), strength=0.3)
    assert np.array_equal(out[:, 0], out[:, 1])
    assert not np.array_equal(out[0], out[1])
    assert recoloured(rows, np.random.default_rng(0), strength=0.0) is rows
