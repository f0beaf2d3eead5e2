// The arithmetic of one pixel, forward and back, with the very numbers.

const LISTED = 8;  // input channels with the largest share in a sum

function drawSums(state) {
  const step = steps[state.step];
  fill("terms", multiplies(state.step) && (state.back ? picker(state) : shares(state)));
  const drawn = multiplies(state.step) ? (state.back ? transposed(state) : product(state))
    : step.kind === "norm" ? (state.back ? removed(state) : [line(state, "a · x + b", "y")])
      : step.kind === "sum" ? [!state.back && line(state, "F(x) + S(x)", "y"), bothPaths(state)]
        : step.kind === "relu" ? [line(state, state.back ? "dy · [y > 0]" : "max(x, 0)", state.back ? "dx" : "y")] : [];
  fill("sums", drawn);
}

// --- a convolution or a classifier, forward ----------------------------------------------------------------------------

function product(state) {
  const found = sumOf(state.step, state.n, state.row, state.column);
  if (!found) return [];
  const term = found.terms.find((one) => one.channel === state.source) ?? found.terms[0];
  return [
    equation(state, [["window of x", term.window], ["×"], ["filter w", term.filter], ["="], ["products", term.products]],
      `Channel ${term.channel} of x brings ${short(term.sum)}.`),
    check(`Σ over ${found.terms.length} channels × ${term.filter.length} weight${term.filter.length > 1 ? "s" : ""}${steps[state.step].b ? " + bias" : ""}`, found.sum, "npresnet's y", found.value),
  ];
}

/** Small tables of kh × kw numbers with signs between them. */
function equation(state, parts, note) {
  const [kh, kw] = steps[state.step].kernel, tables = parts.map(([title, data]) =>
    data ? grid(title, data, kh, kw) : element("span", { class: title.length > 1 ? "sign number" : "sign" }, title));
  return element("div", { class: "equation", tabindex: 0, role: "group", "aria-label": "Products of one channel" }, element("div", { class: "parts" }, tables), element("p", { class: "note" }, note));
}

function grid(title, data, kh, kw) {
  const limit = largest(data), colours = palette(), rows = [];
  for (let i = 0; i < kh; i++) {
    rows.push(element("tr", {}, Array.from(data.slice(i * kw, (i + 1) * kw), (v) => element("td", { style: cellStyle(v, limit, colours) }, short(v, 3)))));
  }
  return element("table", { class: kw > 3 ? "grid small" : "grid" }, element("caption", {}, title), element("tbody", {}, rows));
}

/** The input channels that matter most, as bars to the left and right of zero. */
function shares(state) {
  const found = sumOf(state.step, state.n, state.row, state.column);
  if (!found) return null;
  const order = [...found.terms].sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum)), top = order.slice(0, LISTED), rest = order.slice(LISTED);
  const limit = largest(order.map((term) => term.sum));
  const rows = top.map((term) => choice(`term ${term.channel}`, `channel ${term.channel} brings ${short(term.sum)}`, term.channel === state.source, () => update({ source: term.channel }),
    { class: "term" }, ...bar(String(term.channel), term.sum, limit)));
  const others = rest.reduce((sum, term) => sum + term.sum, 0);
  return element("div", { class: "shares" }, element("h3", {}, "What each channel of x brings"),
    roving(element("div", { role: "group", "aria-label": "Channels of x, the largest share first" }, rows)),
    rest.length > 0 && element("p", { class: "term" }, ...bar(`${rest.length} others`, others, limit)),
    steps[state.step].b && element("p", { class: "term" }, ...bar("bias", found.bias, limit)));
}

function bar(name, v, limit) {
  const width = Math.min(50, (50 * Math.abs(v)) / limit);
  return [
    element("span", { class: "who" }, name),
    element("span", { class: "track-bar" }, element("span", { class: v < 0 ? "minus" : "plus", style: `width:${width}%;${v < 0 ? "right" : "left"}:50%` })),
    element("span", { class: "what" }, short(v)),
  ];
}

/** Two numbers that must agree, and by how much they do not. */
function check(what, sum, whose, value) {
  const off = Math.abs(sum - value), good = off <= 1e-5 * Math.max(1, Math.abs(value));
  return element("p", { class: "check", "data-sum": sum, "data-value": value },
    `${what} = `, element("output", {}, short(sum, 8)), element("span", { class: "whose" }, `${whose}: `, element("b", {}, short(value, 8))),
    element("span", { class: good ? "good" : "bad" }, `${good ? "✓" : "✗"} they differ by ${short(off, 2)}`));
}

// --- the same, back ------------------------------------------------------------------------------------------------------

function transposed(state) {
  const step = steps[state.step], k = state.step, taps = step.kernel[0] * step.kernel[1];
  const first = firstChannel(k, state.n), w = numbers(step.w, state.n), own = state.source - first;
  if (own < 0 || own * taps >= w.length) return [element("p", { class: "note" }, "This filter does not read that channel.")];
  const dy = map(gradients(k, state.c), k, state.n)[state.row * step.shape[2] + state.column];
  const filter = w.subarray(own * taps, (own + 1) * taps), parts = Array.from(filter, (v) => v * dy);
  return [
    equation(state, [[`dy = ${short(dy)}`], ["×"], ["filter w", filter], ["="], ["its part of dx", parts]],
      `These are the pixels of x that this dy reaches, in channel ${state.source}.`),
    reached(state),
  ];
}

/** The buttons that choose a channel of x. */
function picker(state) {
  const buttons = Array.from(channels(steps[state.step].inputs[0]), (channel) => choice(`source ${channel}`, String(channel), channel === state.source, () => update({ source: channel })));
  return element("div", { class: "shares" }, element("h3", {}, "Channel of x"), roving(element("div", { class: "picker", role: "group", "aria-label": "Channel of x" }, buttons)));
}

/** dx at the middle of the window: the sum over every filter and every window that holds it, beside npresnet's. */
function reached(state) {
  const step = steps[state.step], [, H, W] = steps[step.inputs[0]].shape, [top, left] = corner(step, state.row, state.column);
  const i = Math.min(H - 1, Math.max(0, top + step.dilation[0] * (step.kernel[0] >> 1)));
  const j = Math.min(W - 1, Math.max(0, left + step.dilation[1] * (step.kernel[1] >> 1)));
  const found = sumBack(state.step, state.c, state.source, i, j);
  if (!found) return element("p", { class: "note" }, "dx itself sums over every filter; the page has not all of them here, npresnet had: the map of dx is whole.");
  return check(`dx in the middle, row ${i}, column ${j}: Σ over the ${found.count} w · dy that reach it`, found.sum, "npresnet's dx", found.value);
}

// --- layers that work pixel by pixel ---------------------------------------------------------------------------------------

/** One line with the numbers of the chosen pixel put into the layer's formula. */
function line(state, formula, name) {
  const step = steps[state.step], at = state.row * step.shape[2] + state.column, pick = (all) => map(all, state.step, state.n)[at];
  const [x, other] = step.inputs.map((source) => pick(values(source))), dy = state.back && pick(gradients(state.step, state.c));
  const y = state.back ? pick(sentBack(state.step, state.c)) : pick(values(state.step));
  const put = {
    norm: () => `${short(numbers(step.a)[state.n], 6)} · ${short(x, 6)} + ${short(numbers(step.b)[state.n], 6)}`,
    sum: () => `${short(x, 6)} + ${short(other, 6)}`,
    relu: () => (state.back ? `${short(dy, 6)} · ${pick(values(state.step)) > 0 ? 1 : 0}` : `max(${short(x, 6)}, 0)`),
  };
  return element("p", { class: "check", "data-value": y }, `${name} = ${formula} = ${put[step.kind]()} = `, element("b", {}, short(y, 6)));
}

/** How much of the sum each path brings; back, of the gradient where the paths part. */
function bothPaths(state) {
  const block = given.blocks.find((one) => one.name === steps[state.step].block), both = paths(block, state), share = shareOfBranch(both);
  const [f, s] = state.back ? ["F′ᵀdy", "S′ᵀdy"] : ["F(x)", "S(x)"];
  return element("p", { class: "check" }, state.back ? "Where the paths part, these two are added: " : "Over all channels and pixels: ",
    element("b", { class: "plain" }, `‖${f}‖ = ${short(both[0])} (${percent(share)})`), " and ", element("b", { class: "residual" }, `‖${s}‖ = ${short(both[1])} (${percent(1 - share)})`));
}

// --- the two directions that a batch norm removes ------------------------------------------------------------------------

/** dy = mean(dy) + x̂ mean(dy · x̂) + what passes: three maps that are orthogonal, and their shares of ‖dy‖². */
function removed(state) {
  const step = steps[state.step], k = state.step, [, h, w] = step.shape, here = line(state, "a · dy", "dx");
  const dy = map(gradients(k, state.c), k, state.n), dx = map(sentBack(k, state.c), step.inputs[0], state.n), at = state.row * w + state.column;
  here.replaceChildren(`dx = a · dy = ${short(numbers(step.a)[state.n], 6)} · ${short(dy[at], 6)} = `, element("b", {}, short(dx[at], 6)));
  if (!step.moments) return [here, element("p", { class: "note" }, "The map has one value, and so no statistics of its own.")];
  const parts = directions(k, state.n, state.c), limit = largest(dy), whole = energy(dy) || 1;
  const figure = (title, data, sign) => [sign && element("span", { class: "sign", "aria-hidden": "true" }, sign), smallMap(title, data, h, w, limit, energy(data) / whole)];
  return [
    here,
    element("div", { class: "directions" }, element("h3", {}, "In training: dy without its components along 1 and along x̂"),
      element("p", { class: "note" }, "Taking this image alone for the batch. Moving x along either direction leaves x̂ as it is, so the gradient along it is zero. Percentages are shares of ‖dy‖²."),
      element("div", { class: "parts" }, figure("dy", dy), figure("along 1: mean(dy)", parts.one, "="), figure("along x̂: x̂ · mean(dy · x̂)", parts.xHat, "+"), figure("what passes", parts.passes, "+"))),
  ];
}

/** The three parts of dy, from npresnet's moments. */
function directions(k, n, c) {
  const step = steps[k], x = map(values(step.inputs[0]), k, n), dy = map(gradients(k, c), k, n), width = channels(k).length;
  const [mean, inverse] = [numbers(step.moments)[n], numbers(step.moments)[width + n]];
  const along = numbers(step.removed, c), one = dy.map(() => along[n]);
  const xHat = x.map((v) => (v - mean) * inverse * along[width + n]);
  return { one, xHat, passes: dy.map((v, i) => v - one[i] - xHat[i]) };
}

const energy = (data) => data.reduce((sum, v) => sum + v * v, 0);

function smallMap(title, data, h, w, limit, share) {
  const canvas = element("canvas", { role: "img", "aria-label": `${title}: ${percent(share)}` });
  paint(canvas, data, h, w, limit);
  return element("figure", {}, element("div", { class: "map", style: ratio(h, w) }, canvas), element("figcaption", {}, title, element("b", {}, ` ${percent(share)}`)));
}
