// The layers of one block, as its two paths.

const SIGNS = { sum: "+", conv: "conv", norm: "norm", relu: "relu", image: "x" };

function drawBlock(state) {
  const own = steps.map((step, k) => k).filter((k) => steps[k].block === state.block);
  const chip = (k) =>
    choice(
      `step ${k}`,
      layerLabel(k),
      k === state.step,
      () => chooseStep(k),
      { class: `chip ${steps[k].kind}` },
      element("span", {}, steps[k].kind === "sum" ? "+" : lastName(k)),
    );
  const sum = own.find((k) => steps[k].kind === "sum");
  const on = (path) => own.filter((k) => steps[k].path === path);
  if (sum === undefined) return fill("block", circuit(own.map(chip)));
  const first = Math.min(...on("branch"), ...on("shortcut"), sum);
  const outside = own.filter((k) => !steps[k].path);
  const shortcut = on("shortcut").length
    ? on("shortcut").map(chip)
    : element("span", { class: "identity" }, "identity");
  fill(
    "block",
    circuit(
      outside.filter((k) => k < first).map(chip),
      element(
        "div",
        { class: "paths" },
        element("div", { class: "path f" }, element("span", { class: "tag" }, "F"), on("branch").map(chip)),
        element("div", { class: "path s" }, element("span", { class: "tag" }, "S"), shortcut),
      ),
      outside.filter((k) => k >= first).map(chip),
    ),
  );
}

const circuit = (...parts) =>
  roving(element("div", { class: "circuit", role: "group", "aria-label": "Layers of the block" }, ...parts));

/** The part of a layer's name that its block does not say. */
function lastName(k) {
  const { name, block } = steps[k];
  return name.startsWith(`${block}.`) ? name.slice(block.length + 1) : name;
}

const KIND = {
  conv: "convolution",
  norm: "batch norm",
  relu: "ReLU",
  sum: "sum",
  image: "input",
  Linear: "classifier",
  subsample: "every n-th pixel",
};

const layerLabel = (k) =>
  steps[k].kind === "sum" ? `the sum of ${steps[k].name}` : `${lastName(k)}, ${KIND[steps[k].kind] ?? steps[k].kind}`;
