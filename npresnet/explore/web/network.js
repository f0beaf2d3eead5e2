// The network as a strip of blocks over its stream, and the layers of one block.

const SLOT = 92, BAND = 26, DIP = 24;  // pixels of a block's column; the stream's thickness; how far the branch bends

function drawStrip(state) {
  const track = element("div", { class: "track", style: `grid-template-columns:repeat(${given.blocks.length},${SLOT}px)` },
    given.blocks.map((block) => blockButton(block, state)), stream(state));
  fill("strip", roving(element("div", { class: "scroller", role: "group", "aria-label": "Blocks of the network" }, track)));
  document.getElementById("stream-note").replaceChildren(...streamNote(state));
}

function blockButton(block, state) {
  const own = steps.some((step) => step.block === block.name);
  const [C, h, w] = block.shape, label = `${block.name}: ${C} maps of ${h} by ${w}${own ? "" : ", not stored"}`;
  return choice(block.name, label, block.name === state.block, () => chooseBlock(block.name), { disabled: !own, class: "block" },
    glyph(C, h), element("span", { class: "name" }, block.name), element("span", { class: "size" }, h > 1 ? `${C} · ${h}×${w}` : `${C}`));
}

/** A pile of squares: as wide as the maps, as deep as there are channels. */
function glyph(C, h) {
  const tallest = Math.log2(given.blocks[0].shape[1] + 1), side = 6 + (26 * Math.log2(h + 1)) / tallest, sheets = Math.max(1, Math.round(Math.log2(C)));
  const from = (44 - side - 2 * sheets) / 2, drawn = element("svg", { viewBox: "0 0 44 44", "aria-hidden": "true" });
  for (let s = 0; s < sheets; s++) {
    drawn.append(element("svg:rect", { x: from + 2 * s, y: from + 2 * s, width: side, height: side, rx: 1.5, class: "sheet" }));
  }
  return drawn;
}

/** ‖F‖ and ‖S‖ of a block in the direction that is shown, or undefined where nothing is added. */
const paths = (block, state) => (state.back ? block.backward?.[state.c] : block.forward);

const shareOfBranch = ([f, s]) => f / (f + s || 1);

function stream(state) {
  const N = given.blocks.length, drawn = element("svg", {
    viewBox: `0 0 ${N * SLOT} ${BAND + DIP + 20}`, width: N * SLOT, height: BAND + DIP + 20, role: "img", class: "stream",
    "aria-label": streamLabel(state),
  });
  given.blocks.forEach((block, k) => drawn.append(...stretch(block, k * SLOT, state)));
  return drawn;
}

/** One block's part of the stream: two bands where a sum joins them, else one. */
function stretch(block, x, state) {
  const both = paths(block, state), plain = /^layer/.test(block.name) && !both;
  const node = element("svg:rect", { x: x - 3, y: 0, width: 6, height: BAND, rx: 3, class: "node" });
  if (!both) return [element("svg:rect", { x, y: 0, width: SLOT, height: BAND, class: plain ? "f" : "through" }), node];
  const share = shareOfBranch(both), top = BAND * (1 - share);
  const text = element("svg:text", { x: x + SLOT / 2, y: BAND + DIP + 16, "text-anchor": "middle" }, `F ${percent(share)}`);
  return [
    element("svg:rect", { x, y: 0, width: SLOT, height: top, class: "s" }),
    element("svg:path", { d: bend(x, top, BAND), class: "f" }), text, node,
  ];
}

/** A band from y = top to y = bottom that dips in its middle. */
function bend(x, top, bottom) {
  const right = x + SLOT, middle = x + SLOT / 2, one = x + SLOT / 4, two = right - SLOT / 4;
  const half = (y) => `C${one} ${y} ${one} ${y + DIP} ${middle} ${y + DIP} S${two} ${y} ${right} ${y}`;
  const back = (y) => `C${two} ${y} ${two} ${y + DIP} ${middle} ${y + DIP} S${one} ${y} ${x} ${y}`;
  return `M${x} ${top}${half(top)}L${right} ${bottom}${back(bottom)}Z`;
}

function streamLabel(state) {
  const shares = given.blocks.filter((block) => paths(block, state)).map((block) => `${block.name} ${percent(shareOfBranch(paths(block, state)))}`);
  return shares.length ? `Share of the branch F in each block's sum: ${shares.join(", ")}` : "No block adds a shortcut";
}

function streamNote(state) {
  const f = element("b", { class: "plain" }, state.back ? "F′ᵀdy" : "F(x)"), s = element("b", { class: "residual" }, state.back ? "S′ᵀdy" : "S(x)");
  if (!given.blocks.some((block) => block.forward)) return ["This is a plain network: nothing is added, all goes through F."];
  if (state.back) return ["Read it from right to left. A sum hands dy to both paths; what they bring back is added: dx = ", f, " + ", s, ". Widths are the shares ‖·‖ of the two."];
  return ["Each block adds what its branch found to what its shortcut brings: y = ", f, " + ", s, ". The widths of the two streams are their shares ‖F‖ and ‖S‖ of the sum."];
}

// --- the layers of a block ------------------------------------------------------------------------------------------

const SIGNS = { sum: "+", conv: "conv", norm: "norm", relu: "relu", image: "x" };

function drawBlock(state) {
  const own = steps.map((step, k) => k).filter((k) => steps[k].block === state.block);
  const chip = (k) => choice(`step ${k}`, layerLabel(k), k === state.step, () => chooseStep(k), { class: `chip ${steps[k].kind}` },
    element("span", {}, steps[k].kind === "sum" ? "+" : lastName(k)));
  const sum = own.find((k) => steps[k].kind === "sum"), on = (path) => own.filter((k) => steps[k].path === path);
  if (sum === undefined) return fill("block", circuit(own.map(chip)));
  const first = Math.min(...on("branch"), ...on("shortcut"), sum), outside = own.filter((k) => !steps[k].path);
  const shortcut = on("shortcut").length ? on("shortcut").map(chip) : element("span", { class: "identity" }, "identity");
  fill("block", circuit(outside.filter((k) => k < first).map(chip),
    element("div", { class: "paths" },
      element("div", { class: "path f" }, element("span", { class: "tag" }, "F"), on("branch").map(chip)),
      element("div", { class: "path s" }, element("span", { class: "tag" }, "S"), shortcut)),
    outside.filter((k) => k >= first).map(chip)));
}

const circuit = (...parts) => roving(element("div", { class: "circuit", role: "group", "aria-label": "Layers of the block" }, ...parts));

/** The part of a layer's name that its block does not say. */
function lastName(k) {
  const { name, block } = steps[k];
  return name.startsWith(`${block}.`) ? name.slice(block.length + 1) : name;
}

const KIND = { conv: "convolution", norm: "batch norm", relu: "ReLU", sum: "sum", image: "input", Linear: "classifier", subsample: "every n-th pixel" };

const layerLabel = (k) => (steps[k].kind === "sum" ? `the sum of ${steps[k].name}` : `${lastName(k)}, ${KIND[steps[k].kind] ?? steps[k].kind}`);
