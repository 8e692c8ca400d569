// Keeps the two films of a pair in step, rests what is out of sight, and offers a pause.
(() => {
  const section = document.getElementById("films");
  if (!section) return;
  const films = [...section.querySelectorAll("video")];
  const visible = new Set();
  let paused = matchMedia("(prefers-reduced-motion: reduce)").matches;

  const play = (film) => film.play().catch(() => {});
  const update = () =>
    films.forEach((film) => (paused || !visible.has(film) ? film.pause() : film.ended || play(film)));

  for (const pair of section.querySelectorAll(".pair")) {
    const both = [...pair.querySelectorAll("video")];
    for (const film of both) {
      film.loop = false;
      film.addEventListener("ended", () => {
        if (!both.every((other) => other.ended)) return;
        setTimeout(() => {
          both.forEach((other) => (other.currentTime = 0));
          update();
        }, 900);
      });
    }
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries)
      entry.isIntersecting ? visible.add(entry.target) : visible.delete(entry.target);
    update();
  });
  films.forEach((film) => watcher.observe(film));

  if (films.length) {
    const button = document.createElement("button");
    const label = () => (button.textContent = paused ? "Play films" : "Pause films");
    button.type = "button";
    button.addEventListener("click", () => {
      paused = !paused;
      label();
      update();
    });
    label();
    section.append(button);
  }
})();
