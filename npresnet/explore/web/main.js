// What is chosen, and what is drawn again when that changes.

const state = { block: "image", step: 0, n: 0, row: 0, column: 0, source: 0, back: false, c: 0, heat: 0.6, depth: Object.keys(given.depth).at(-1), place: 0 };

const LAYER = ["step", "n", "row", "column", "back", "c", "theme"];
const PARTS = [
  [drawScores, ["c"]], [drawPhoto, ["c", "theme"]], [drawDirection, ["back", "c"]], [drawStrip, ["block", "back", "c"]], [drawBlock, ["block", "step"]],
  [drawLayer, ["step", "back"]], [drawMaps, ["step", "n", "back", "c", "theme"]], [drawLens, [...LAYER, "source"]], [drawSums, [...LAYER, "source"]], [drawSeen, LAYER],
  [drawDepth, ["depth", "place"]],
];

/** Change what is chosen, and draw what depends on it. */
function update(changes) {
  const changed = Object.keys(changes).filter((key) => key === "theme" || state[key] !== changes[key]);
  Object.assign(state, changes);
  for (const [draw, needs] of PARTS) if (needs.some((key) => changed.includes(key))) draw(state);
}

function chooseBlock(name) {
  const own = steps.map((_, k) => k).filter((k) => steps[k].block === name);
  chooseStep(own.find((k) => multiplies(k)) ?? own.at(-1));
}

/** Show a layer: the channel and the pixel that move the score most, or those that are chosen already. */
function chooseStep(k) {
  const step = steps[k], [, h, w] = step.shape, before = steps[state.step], dy = gradients(k, state.c), moved = values(k).map((v, i) => Math.abs(v * dy[i]));
  const kept = before.shape[0] === step.shape[0] && state.n < channels(k).length;
  const n = kept ? state.n : strongest(Array.from(channels(k), (_, c) => map(moved, k, c).reduce((a, b) => a + b)));
  const same = before.shape[1] === h && before.shape[2] === w && state.step !== k && kept, peak = strongest(map(moved, k, n));
  const [row, column] = stored(step, ...(same ? [state.row, state.column] : [Math.floor(peak / w), peak % w]));
  update({ block: step.block, step: k, n, row, column, source: bestSource(k, n, row, column) });
}

const strongest = (list) => list.indexOf(Math.max(...list));

/** The input channel that brings most to a sum; of the maps that the page has. */
function bestSource(k, n, row, column) {
  const found = multiplies(k) && sumOf(k, n, row, column);
  if (!found) return steps[k].inputs.length ? channels(steps[k].inputs[0])[0] : 0;
  const own = new Set(channels(steps[k].inputs[0])), terms = found.terms.filter((term) => own.has(term.channel));
  return (terms.length ? terms : found.terms).reduce((a, b) => (Math.abs(b.sum) > Math.abs(a.sum) ? b : a)).channel;
}

/** The nearest pixel whose window the page has. */
function stored(step, row, column) {
  if (!step.pixels) return [row, column];
  const far = ([r, c]) => (r - row) ** 2 + (c - column) ** 2;
  return step.pixels.reduce((a, b) => (far(b) < far(a) ? b : a));
}

function chooseChannel(n) {
  const grouped = steps[state.step].groups > 1;
  update({ n, ...(grouped ? { source: bestSource(state.step, n, state.row, state.column) } : {}) });
}

function choosePixel(row, column) {
  const [, h, w] = steps[state.step].shape, inside = (v, size) => Math.min(size - 1, Math.max(0, v));
  const [r, c] = stored(steps[state.step], inside(row, h), inside(column, w));
  update({ row: r, column: c });
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function movePixel(event) {
  const move = ARROWS[event.key], step = steps[state.step];
  if (!move) return;
  event.preventDefault();
  if (!step.pixels) return choosePixel(state.row + move[0], state.column + move[1]);
  const ahead = step.pixels.filter(([r, c]) => (r - state.row) * move[0] + (c - state.column) * move[1] > 0);
  if (ahead.length) choosePixel(...ahead.reduce((a, b) => (distance(b) < distance(a) ? b : a)));
}

const distance = ([r, c]) => (r - state.row) ** 2 + (c - state.column) ** 2;

// --- the top of the page ------------------------------------------------------------------------------------------------

function drawScores(state) {
  const rows = given.scores.map((row) => {
    const inner = [element("span", { class: "who" }, row.name), element("span", { class: "track-bar" }, element("span", { class: "p", style: `width:${100 * row.probability}%` })),
      element("span", { class: "what" }, `${(100 * row.probability).toFixed(2)} %`)];
    return element("li", { class: row.followed === state.c ? "score on" : "score" }, inner);
  });
  fill("scores", element("ol", { class: "scores", "aria-label": "The most probable classes" }, rows));
}

function drawPhoto(state) {
  const [h, w] = given.cam.shape.slice(1), heat = element("canvas", { class: "heat", style: `opacity:${state.heat}`, "aria-hidden": "true" });
  paintHeat(heat, numbers(given.cam, state.c), h, w);
  const slider = element("input", {
    type: "range", id: "heat", min: 0, max: 1, step: 0.05, value: state.heat, "data-key": "heat",
    oninput: (event) => { state.heat = Number(event.target.value); heat.style.opacity = state.heat; },
  });
  const name = given.followed[state.c];
  fill("photo", element("div", { class: "photo" }, element("img", { src: given.photo, alt: `The part of ${given.image} that the network sees, with the evidence for ${name} laid over it` }), heat),
    element("figcaption", {}, element("label", { for: "heat" }, `Grad-CAM: where the last stage finds evidence for ${name}`), slider));
}

function drawDirection(state) {
  fill("direction", roving(element("div", {}, choice("forward", "Forward: y", !state.back, () => update({ back: false })), choice("back", "Backward: dy", state.back, () => update({ back: true })))));
  fill("class", roving(element("div", {}, given.followed.map((name, c) => choice(`class ${c}`, name, c === state.c, () => update({ c }))))));
}

function drawAbout() {
  const sure = given.scores[0];
  document.getElementById("title").textContent = `Inside ${given.model}`;
  document.getElementById("lead").textContent = `It looks at ${given.image} and says ${sure.name}, with ${(100 * sure.probability).toFixed(1)} %. Follow the image forward through its ` +
    `${given.blocks.length - 3} blocks, and a score back to the pixels. Each number is the one that npresnet computed.`;
  document.getElementById("about").append(element("p", {}, given.detail),
    element("p", {}, `Made by npresnet ${given.version}: ${given.model}, ${given.parameters.toLocaleString("en")} parameters. This page loads nothing from anywhere. ` +
      "Outputs of ReLU, batch norm and sums, and their gradients, are worked out here from npresnet's convolutions, with the same roundings."));
}

const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const button = document.getElementById("theme");

function themed() {
  button.textContent = dark() ? "Light" : "Dark";
  button.setAttribute("aria-label", `${button.textContent} theme`);
  update({ theme: dark() });
}

addEventListener("resize", () => drawDepth(state));
button.addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; themed(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themed);

drawAbout();
for (const [draw] of PARTS) draw(state);
chooseBlock(given.blocks.find((block) => /^layer/.test(block.name) && steps.some((step) => step.block === block.name))?.name ?? "stem");
themed();
