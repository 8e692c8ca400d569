// Filters the episodes, and follows the pointer through film and plots of one of them.
(() => {
  const form = document.getElementById("filters");
  const cards = [...document.querySelectorAll(".episode")];
  if (!form || !cards.length) return;
  const find = document.getElementById("find");
  const shown = document.getElementById("shown");
  const clear = document.getElementById("clear");
  const nothing = document.getElementById("nothing");
  const dots = new Map([...document.querySelectorAll(".dot[data-episode]")].map((d) => [d.dataset.episode, d]));
  const chips = [...form.querySelectorAll("input[type=checkbox]")];
  const fields = [...new Set(chips.map((chip) => chip.name))];

  const episodes = cards.map((card) => ({
    card,
    dot: dots.get(card.id.slice(2)),
    values: Object.fromEntries(fields.map((f) => [f, card.dataset[f].split("\n")])),
    // The numbers along the axes would match almost anything.
    text: [...card.querySelectorAll("header, .lane, .lane span, .conclusion, .pairs, .damage")]
      .map((part) => `${part.textContent} ${part.title || ""}`)
      .join(" ")
      .toLowerCase(),
  }));

  const update = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = new Map(fields.map((field) => [field, new Set()]));
    for (const chip of chips) if (chip.checked) wanted.get(chip.name).add(chip.value);
    const tally = new Map(chips.map((chip) => [chip, 0]));
    let count = 0;
    for (const episode of episodes) {
      const failed = fields.filter((field) => {
        const any = wanted.get(field);
        return any.size && !episode.values[field].some((value) => any.has(value));
      });
      const found = words.every((word) => episode.text.includes(word));
      const pass = found && !failed.length;
      episode.card.hidden = !pass;
      episode.dot?.classList.toggle("off", !pass);
      count += pass;
      // A switch tells what it would show beside the choices in the other groups.
      for (const chip of found ? chips : [])
        if (failed.every((f) => f === chip.name) && episode.values[chip.name].includes(chip.value))
          tally.set(chip, tally.get(chip) + 1);
    }
    for (const [chip, number] of tally) {
      const label = chip.closest("label");
      label.querySelector(".tally").textContent = number;
      label.classList.toggle("empty", !number);
    }
    const all = episodes.length;
    const some = words.length || chips.some((chip) => chip.checked);
    shown.textContent = some ? `${count} of ${all} episodes` : `${all} episode${all > 1 ? "s" : ""}`;
    clear.hidden = !some;
    nothing.hidden = count > 0;
  };

  form.addEventListener("input", update);
  form.addEventListener("reset", () => setTimeout(update));
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== find) {
      event.preventDefault();
      find.focus();
    }
  });
  // A mark on the map leads to its episode, even to one that is filtered out.
  const reveal = () => {
    const card = location.hash && document.getElementById(location.hash.slice(1));
    if (!card?.hidden) return;
    form.reset();
    update();
    card.scrollIntoView();
  };
  addEventListener("hashchange", reveal);

  // Where the pointer is on one time axis is marked on all axes of that episode.
  document.getElementById("episodes").addEventListener("pointermove", (event) => {
    const over = event.target.closest(".film, .axes");
    const card = event.target.closest(".episode");
    if (!card) return;
    const box = over?.getBoundingClientRect();
    const inset = Number(over && getComputedStyle(over).getPropertyValue("--inset")) || 0;
    const right = Number(over && getComputedStyle(over).getPropertyValue("--inset-right")) || 0;
    const share = box && (event.clientX - box.left - inset * box.width) /
      (box.width * (1 - inset - right));
    const inside = over && share > -0.01 && share < 1.01;
    card.classList.toggle("timed", Boolean(inside));
    if (inside) card.style.setProperty("--share", Math.min(Math.max(share, 0), 1).toFixed(4));
  });

  form.hidden = false;
  update();
  reveal();
})();
