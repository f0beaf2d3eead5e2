// The lens: what a layer reads and what it makes, one map of each, with one pixel chosen.

function drawLens(state) {
  const step = steps[state.step];
  const reads = step.inputs.map((source, which) => inputFigure(state, source, which));
  fill(
    "lens",
    element(
      "div",
      { class: "lens" },
      reads,
      reads.length > 0 && element("span", { class: "arrow", "aria-hidden": "true" }, state.back ? "←" : "→"),
      outputFigure(state),
    ),
  );
  const value = map(shown(state.step, state), state.step, state.n)[state.row * step.shape[2] + state.column];
  document.getElementById("pixel").textContent =
    `${state.back ? "dy" : "y"} of ${channelName(state.step, channels(state.step)[state.n])}, row ${state.row}, column ${state.column}: ${short(value, 6)}`;
}

/** A map that the layer reads, or what it sends back there, with the window outlined. */
function inputFigure(state, source, which) {
  const step = steps[state.step];
  const [C, h, w] = steps[source].shape;
  const own = inputChannel(state, source);
  const place = Array.from(channels(source)).indexOf(own);
  const names = step.kind === "sum" ? ["F(x)", "S(x)", "dy to F", "dy to S"] : ["x", "x", "dx", "dx"];
  const title = `${names[which + 2 * Number(state.back)]}, ${channelName(source, own)}`;
  if (place < 0)
    return element(
      "figure",
      {},
      element("div", { class: "map missing" }, "this map is not stored"),
      element("figcaption", {}, title),
    );
  const canvas = element("canvas", { role: "img", "aria-label": `${title}, ${h} by ${w}` });
  const all = state.back ? sentBack(state.step, state.c) : values(source);
  paint(canvas, map(all, source, place), h, w);
  return element(
    "figure",
    {},
    element("div", { class: "map", style: ratio(h, w) }, canvas, outline(state, steps[source].shape)),
    element("figcaption", {}, title),
  );
}

/** The channel of the input that is looked at: the chosen one where channels are mixed, else the output's own. */
function inputChannel(state, source) {
  if (multiplies(state.step)) return state.source;
  const own = channels(state.step)[state.n];
  return steps[source].shape[0] === steps[state.step].shape[0] ? own : Math.min(own, steps[source].shape[0] - 1);
}

/** As wide as tall as the map is; a single pixel is not blown up. */
const ratio = (h, w) => `aspect-ratio:${w}/${h}${h * w === 1 ? ";max-width:64px" : ""}`;

/** The frame around the pixels of the input that the chosen output pixel sees. */
function outline(state, shape) {
  const region = regionBefore(steps[state.step], [state.row, state.column, state.row + 1, state.column + 1], shape);
  return frame(region, shape);
}

const frame = ([top, left, bottom, right], [, h, w]) =>
  element("span", {
    class: "frame",
    "aria-hidden": "true",
    style: `top:${(100 * top) / h}%;left:${(100 * left) / w}%;height:${(100 * (bottom - top)) / h}%;width:${(100 * (right - left)) / w}%`,
  });

/** The image, with what the chosen pixel sees of it. */
function drawSeen(state) {
  const region = state.step > 0 && seenInImage(state.step, state.row, state.column);
  const [C, h, w] = steps[0].shape;
  if (!region) return fill("seen");
  const canvas = element("canvas", { role: "img", "aria-label": "the image as the network is given it" });
  if (C === 3) paintColours(canvas, values(0), h, w, given.channels);
  else paint(canvas, map(values(0), 0, 0), h, w);
  const text = `${region[2] - region[0]} × ${region[3] - region[1]} of the image’s ${h} × ${w} pixels`;
  fill(
    "seen",
    element(
      "figure",
      {},
      element("div", { class: "map", style: ratio(h, w) }, canvas, frame(region, steps[0].shape)),
      element("figcaption", {}, state.back ? `From here dy can reach ${text}.` : `It sees ${text}.`),
    ),
  );
}

/** The pixel of an h × w map under the pointer. */
function under(event, h, w) {
  const { clientHeight, clientWidth } = event.currentTarget;
  return [Math.floor((event.offsetY / clientHeight) * h), Math.floor((event.offsetX / clientWidth) * w)];
}

/** The output's map, in which a pixel is chosen by the mouse, a finger or the arrow keys. */
function outputFigure(state) {
  const step = steps[state.step];
  const [, h, w] = step.shape;
  const channel = channelName(state.step, channels(state.step)[state.n]);
  const title = `${state.back ? "dy" : "y"}, ${channel}`;
  const canvas = element("canvas", {
    "data-key": "output",
    tabindex: 0,
    role: "application",
    "aria-roledescription": "map of pixels",
    "aria-describedby": "pixel",
    "aria-label": `${title}, ${h} by ${w} pixels; arrow keys choose one`,
    onclick: (event) => choosePixel(...under(event, h, w)),
    onpointermove: (event) => event.buttons && choosePixel(...under(event, h, w)),
    onkeydown: (event) => movePixel(event),
  });
  if (step.kind === "image" && !state.back && step.shape[0] === 3)
    paintColours(canvas, values(state.step), h, w, given.channels);
  else paint(canvas, map(shown(state.step, state), state.step, state.n), h, w);
  const marks = (step.pixels ?? []).map(([row, column]) =>
    element("span", { class: "mark", style: `top:${(100 * (row + 0.5)) / h}%;left:${(100 * (column + 0.5)) / w}%` }),
  );
  return element(
    "figure",
    {},
    element(
      "div",
      { class: "map chosen", style: ratio(h, w) },
      canvas,
      marks,
      frame([state.row, state.column, state.row + 1, state.column + 1], step.shape),
    ),
    element(
      "figcaption",
      {},
      element("b", {}, title),
      step.pixels ? " · sums are stored for the marked pixels" : h * w > 1 ? " · choose a pixel" : "",
    ),
  );
}
