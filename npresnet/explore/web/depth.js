// The norm of the gradient after each block, of a plain and a residual network that are equally deep.

const HIGH = 300;
const LEFT = 56;
const BELOW = 40;

function drawDepth(state) {
  const { plain, residual } = given.depth[state.depth];
  const last = plain.length - 1;
  const block = Math.min(state.place, last);
  const depths = element(
    "div",
    { class: "switch", role: "group", "aria-label": "Layers" },
    Object.keys(given.depth).map((depth) =>
      choice(`depth ${depth}`, `${depth} layers`, depth === state.depth, () => update({ depth, place: 0 })),
    ),
  );
  const slider = element("input", {
    id: "place",
    type: "range",
    min: 0,
    max: last,
    value: block,
    "data-key": "place",
    "aria-valuetext": spoken(plain, residual, block),
    oninput: (event) => update({ place: Number(event.target.value) }),
  });
  const readout = element(
    "p",
    { class: "pixel", "aria-live": "polite" },
    `After ${place(block)}, ‖dy‖ is `,
    element("b", { class: "plain" }, short(plain[block], 3)),
    " in the plain network and ",
    element("b", { class: "residual" }, short(residual[block], 3)),
    " in the residual one. On the way there from the last block it became ",
    element("b", { class: "plain" }, times(plain[block] / plain[last])),
    " and ",
    element("b", { class: "residual" }, times(residual[block] / residual[last])),
    " times as large.",
  );
  fill(
    "depth",
    element("div", { class: "bar" }, roving(depths), element("label", { for: "place" }, "Block"), slider),
    element("div", { class: "depth" }, chart(plain, residual, block), readout),
  );
}

const times = (ratio) => (ratio < 10 ? ratio.toFixed(1) : Math.round(ratio).toLocaleString("en"));
const place = (block) => (block === 0 ? "the stem" : `block ${block}`);
const spoken = (plain, residual, block) =>
  `${place(block)}: plain ${short(plain[block], 3)}, residual ${short(residual[block], 3)}`;

function chart(plain, residual, block) {
  const all = [...plain, ...residual].map(Math.log10);
  const low = Math.floor(Math.min(...all));
  const high = Math.ceil(Math.max(...all));
  const last = plain.length - 1;
  const wide = Math.max(300, Math.min(760, document.getElementById("depth").clientWidth));
  const x = (k) => LEFT + 8 + (k / last) * (wide - LEFT - 84);
  const y = (v) => 26 + ((high - Math.log10(v)) / (high - low)) * (HIGH - BELOW - 30);
  const drawn = element("svg", {
    viewBox: `0 0 ${wide} ${HIGH}`,
    role: "img",
    class: "chart",
    "aria-label":
      "Norm of the gradient after each block, on a logarithmic scale. " +
      spoken(plain, residual, 0) +
      ". " +
      spoken(plain, residual, last),
  });
  for (let power = low; power <= high; power++) {
    drawn.append(
      element("svg:line", { x1: LEFT, x2: wide - 76, y1: y(10 ** power), y2: y(10 ** power), class: "rule" }),
      element(
        "svg:text",
        { x: LEFT - 6, y: y(10 ** power) + 4, "text-anchor": "end" },
        power < -2 || power > 3 ? `10${raised(power)}` : short(10 ** power),
      ),
    );
  }
  drawn.append(element("svg:line", { x1: x(block), x2: x(block), y1: 22, y2: HIGH - BELOW, class: "cursor" }));
  for (const [name, norms] of [
    ["plain", plain],
    ["residual", residual],
  ]) {
    drawn.append(
      element("svg:polyline", { points: norms.map((v, k) => `${x(k)},${y(v)}`).join(" "), class: name }),
      element("svg:circle", { cx: x(block), cy: y(norms[block]), r: 5, class: name }),
      element("svg:text", { x: x(last) + 8, y: y(norms[last]) + (name === "plain" ? 14 : -6), class: name }, name),
    );
  }
  drawn.append(
    element("svg:text", { x: x(0), y: HIGH - 16 }, "stem"),
    element("svg:text", { x: x(last), y: HIGH - 16, "text-anchor": "end" }, `block ${last}`),
    element("svg:text", { x: x(last / 2), y: HIGH - 16, "text-anchor": "middle" }, "← dy"),
    element("svg:text", { x: LEFT - 6, y: 12, "text-anchor": "end" }, "‖dy‖"),
  );
  return drawn;
}

const raised = (power) =>
  String(power)
    .replace("-", "⁻")
    .replace(/\d/g, (d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]);
