// What is chosen, and what is drawn again when that changes.

const state = {
  block: "image",
  step: 0,
  n: 0,
  row: 0,
  column: 0,
  source: 0,
  back: false,
  c: 0,
  heat: 0.6,
  depth: Object.keys(given.depth).at(-1),
  place: 0,
};

const LAYER = ["step", "n", "row", "column", "back", "c", "theme"];
const PARTS = [
  [drawScores, ["c"]],
  [drawPhoto, ["c", "theme"]],
  [drawDirection, ["back", "c"]],
  [drawStrip, ["block", "back", "c"]],
  [drawBlock, ["block", "step"]],
  [drawLayer, ["step", "back"]],
  [drawMaps, ["step", "n", "back", "c", "theme"]],
  [drawLens, [...LAYER, "source"]],
  [drawSums, [...LAYER, "source"]],
  [drawSeen, LAYER],
  [drawDepth, ["depth", "place"]],
];

/** Change what is chosen, and draw what depends on it. */
function update(changes) {
  const changed = Object.keys(changes).filter((key) => key === "theme" || state[key] !== changes[key]);
  Object.assign(state, changes);
  for (const [draw, needs] of PARTS) if (needs.some((key) => changed.includes(key))) draw(state);
}

const dark = () =>
  (document.documentElement.dataset.theme ??
    (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const button = document.getElementById("theme");

function themed() {
  button.textContent = dark() ? "Light" : "Dark";
  button.setAttribute("aria-label", `${button.textContent} theme`);
  update({ theme: dark() });
}

addEventListener("resize", () => drawDepth(state));
button.addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  themed();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themed);

drawAbout();
for (const [draw] of PARTS) draw(state);
chooseBlock(
  given.blocks.find((block) => /^layer/.test(block.name) && steps.some((step) => step.block === block.name))?.name ??
    "stem",
);
themed();
