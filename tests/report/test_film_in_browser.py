"""A browser shows the colours that were filmed, at sizes where players guess another standard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from browser import NEEDS_BROWSER, visit

from loopwright.report.film import encode_film
from loopwright.store.video import FilmWriter

pytestmark = NEEDS_BROWSER

_COLOURS = np.array(
    [[220, 30, 30], [30, 200, 40], [40, 60, 230], [240, 200, 20], [128, 128, 128]], np.uint8
)
_PROBE = """<!doctype html><script type="module">
const film = document.createElement("video");
const error = await new Promise(resolve => {
  film.onerror = () => resolve(film.error.message);
  film.onloadeddata = () => resolve("");
  film.muted = true;
  film.src = "film.mp4";
});
const canvas = new OffscreenCanvas(film.videoWidth || 1, film.videoHeight || 1);
const context = canvas.getContext("2d");
context.drawImage(film, 0, 0);
const colours = [0, 1, 2, 3, 4].map(i => Array.from(context.getImageData(
  (i + 0.5) * canvas.width / 5, canvas.height / 2, 1, 1).data.slice(0, 3)));
await fetch("/found", {method: "POST", body: JSON.stringify({error, colours})});
</script>"""


def of_the_report(frames: np.ndarray) -> bytes:
    return encode_film(frames, 10)


def of_an_episode(frames: np.ndarray, path: Path) -> bytes:
    writer = FilmWriter(path, height_px=frames.shape[1], width_px=frames.shape[2], rate_hz=10)
    for frame in frames:
        writer.write(frame)
    writer.close()
    return path.read_bytes()


@pytest.mark.parametrize("encode", [of_the_report, of_an_episode])
@pytest.mark.parametrize("height_px", [96, 720])
def test_chromium_shows_the_colours_that_were_filmed(
    tmp_path: Path, encode: Callable[..., bytes], height_px: int
) -> None:
    stripes = np.repeat(_COLOURS, height_px // 3, axis=0)
    frames = np.broadcast_to(stripes, (4, height_px, len(stripes), 3))
    more = (tmp_path / "recorded.mp4",) if encode is of_an_episode else ()
    (tmp_path / "film.mp4").write_bytes(encode(frames, *more))
    (tmp_path / "probe.html").write_text(_PROBE)
    found, _ = visit(tmp_path, width=600)
    assert found["error"] == ""
    assert np.abs(np.array(found["colours"], int) - _COLOURS).max() <= 4
