"""A browser decodes the frames of our films as Foxglove does: with WebCodecs, from Annex B."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
from browser import NEEDS_BROWSER, visit

from loopwright.store.exchange.annex_b import annex_b_packets
from loopwright.store.video import FilmWriter, read_film

pytestmark = NEEDS_BROWSER

_PROBE = """<!doctype html><script type="module">
const packets = await (await fetch("packets.json")).json();
const bytes = packets.map(text => Uint8Array.from(atob(text), c => c.charCodeAt(0)));
const hex = n => n.toString(16).padStart(2, "0");
const parameters = bytes[0].findIndex((b, i, all) => (b & 31) === 7 && all[i - 1] === 1);
const codec = "avc1." + [1, 2, 3].map(i => hex(bytes[0][parameters + i])).join("");
const supported = (await VideoDecoder.isConfigSupported({codec})).supported;
const images = [], errors = [], copies = [];
const decoder = new VideoDecoder({
  output: frame => copies.push((async () => {
    const canvas = new OffscreenCanvas(frame.displayWidth, frame.displayHeight);
    const context = canvas.getContext("2d");
    context.drawImage(frame, 0, 0);
    images.push(Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data));
    frame.close();
  })()),
  error: error => errors.push(String(error)),
});
try {
  decoder.configure({codec, optimizeForLatency: true});
  bytes.forEach((data, i) => decoder.decode(
    new EncodedVideoChunk({type: i % 5 ? "delta" : "key", timestamp: i * 100000, data})));
  await decoder.flush();
  await Promise.all(copies);
} catch (error) { errors.push(String(error)); }
await fetch("/found", {method: "POST", body: JSON.stringify({codec, supported, images, errors})});
</script>"""


def test_chromium_shows_every_frame(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    writer = FilmWriter(film, height_px=64, width_px=80, rate_hz=10)
    y, x = np.mgrid[:64, :80]
    for step in range(12):
        image = np.stack([2 * x + 5 * step, 3 * y, 255 - x - y], -1).clip(0, 255)
        writer.write(image.astype(np.uint8))
    writer.close()
    data = film.read_bytes()
    packets = [base64.b64encode(packet).decode() for packet in annex_b_packets(data, "film")]
    (tmp_path / "packets.json").write_text(json.dumps(packets))
    (tmp_path / "probe.html").write_text(_PROBE)
    found, _ = visit(tmp_path, width=600)
    assert found["errors"] == []
    assert found["supported"] is True
    shown = np.array(found["images"], np.uint8).reshape(-1, 64, 80, 4)[..., :3]
    ours = read_film(data, "film")
    assert shown.shape == ours.shape
    # Equal but for rounding, so that nobody guessed how colours were made into numbers.
    error = np.mean((shown.astype(np.float64) - ours) ** 2)
    assert 10 * np.log10(255**2 / error) > 45
