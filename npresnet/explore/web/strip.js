// The network as a strip of blocks over its stream, and the layers of one block.

const SLOT = 92;
const BAND = 26;
const DIP = 24; // pixels of a block's column; the stream's thickness; how far the branch bends

function drawStrip(state) {
  const track = element(
    "div",
    { class: "track", style: `grid-template-columns:repeat(${given.blocks.length},${SLOT}px)` },
    given.blocks.map((block) => blockButton(block, state)),
    stream(state),
  );
  fill(
    "strip",
    roving(element("div", { class: "scroller", role: "group", "aria-label": "Blocks of the network" }, track)),
  );
  document.getElementById("stream-note").replaceChildren(...streamNote(state));
}

function blockButton(block, state) {
  const own = steps.some((step) => step.block === block.name);
  const [C, h, w] = block.shape;
  const label = `${block.name}: ${C} maps of ${h} by ${w}${own ? "" : ", not stored"}`;
  return choice(
    block.name,
    label,
    block.name === state.block,
    () => chooseBlock(block.name),
    { disabled: !own, class: "block" },
    glyph(C, h),
    element("span", { class: "name" }, block.name),
    element("span", { class: "size" }, h > 1 ? `${C} · ${h}×${w}` : `${C}`),
  );
}

/** A pile of squares: as wide as the maps, as deep as there are channels. */
function glyph(C, h) {
  const tallest = Math.log2(given.blocks[0].shape[1] + 1);
  const side = 6 + (26 * Math.log2(h + 1)) / tallest;
  const sheets = Math.max(1, Math.round(Math.log2(C)));
  const from = (44 - side - 2 * sheets) / 2;
  const drawn = element("svg", { viewBox: "0 0 44 44", "aria-hidden": "true" });
  for (let s = 0; s < sheets; s++) {
    drawn.append(
      element("svg:rect", { x: from + 2 * s, y: from + 2 * s, width: side, height: side, rx: 1.5, class: "sheet" }),
    );
  }
  return drawn;
}

/** ‖F‖ and ‖S‖ of a block in the direction that is shown, or undefined where nothing is added. */
const paths = (block, state) => (state.back ? block.backward?.[state.c] : block.forward);

const shareOfBranch = ([f, s]) => f / (f + s || 1);

function stream(state) {
  const N = given.blocks.length;
  const drawn = element("svg", {
    viewBox: `0 0 ${N * SLOT} ${BAND + DIP + 20}`,
    width: N * SLOT,
    height: BAND + DIP + 20,
    role: "img",
    class: "stream",
    "aria-label": streamLabel(state),
  });
  given.blocks.forEach((block, k) => drawn.append(...stretch(block, k * SLOT, state)));
  return drawn;
}

/** One block's part of the stream: two bands where a sum joins them, else one. */
function stretch(block, x, state) {
  const both = paths(block, state);
  const plain = /^layer/.test(block.name) && !both;
  const node = element("svg:rect", { x: x - 3, y: 0, width: 6, height: BAND, rx: 3, class: "node" });
  if (!both) return [element("svg:rect", { x, y: 0, width: SLOT, height: BAND, class: plain ? "f" : "through" }), node];
  const share = shareOfBranch(both);
  const top = BAND * (1 - share);
  const text = element(
    "svg:text",
    { x: x + SLOT / 2, y: BAND + DIP + 16, "text-anchor": "middle" },
    `F ${percent(share)}`,
  );
  return [
    element("svg:rect", { x, y: 0, width: SLOT, height: top, class: "s" }),
    element("svg:path", { d: bend(x, top, BAND), class: "f" }),
    text,
    node,
  ];
}

/** A band from y = top to y = bottom that dips in its middle. */
function bend(x, top, bottom) {
  const right = x + SLOT;
  const middle = x + SLOT / 2;
  const one = x + SLOT / 4;
  const two = right - SLOT / 4;
  const half = (y) => `C${one} ${y} ${one} ${y + DIP} ${middle} ${y + DIP} S${two} ${y} ${right} ${y}`;
  const back = (y) => `C${two} ${y} ${two} ${y + DIP} ${middle} ${y + DIP} S${one} ${y} ${x} ${y}`;
  return `M${x} ${top}${half(top)}L${right} ${bottom}${back(bottom)}Z`;
}

function streamLabel(state) {
  const shares = given.blocks
    .filter((block) => paths(block, state))
    .map((block) => `${block.name} ${percent(shareOfBranch(paths(block, state)))}`);
  return shares.length ? `Share of the branch F in each block's sum: ${shares.join(", ")}` : "No block adds a shortcut";
}

function streamNote(state) {
  const f = element("b", { class: "plain" }, state.back ? "F′ᵀdy" : "F(x)");
  const s = element("b", { class: "residual" }, state.back ? "S′ᵀdy" : "S(x)");
  if (!given.blocks.some((block) => block.forward))
    return ["This is a plain network: nothing is added, all goes through F."];
  if (state.back)
    return [
      "Read it from right to left. A sum hands dy to both paths; what they bring back is added: dx = ",
      f,
      " + ",
      s,
      ". Widths are the shares ‖·‖ of the two.",
    ];
  return [
    "Each block adds what its branch found to what its shortcut brings: y = ",
    f,
    " + ",
    s,
    ". The widths of the two streams are their shares ‖F‖ and ‖S‖ of the sum.",
  ];
}
