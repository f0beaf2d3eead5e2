// A convolution or a classifier at one pixel: window × filter = products, and what each input channel brings.

const LISTED = 8; // input channels with the largest share in a sum

function product(state) {
  const found = sumOf(state.step, state.n, state.row, state.column);
  if (!found) return [];
  const term = found.terms.find((one) => one.channel === state.source) ?? found.terms[0];
  return [
    equation(
      state,
      [["window of x", term.window], ["×"], ["filter w", term.filter], ["="], ["products", term.products]],
      `Channel ${term.channel} of x brings ${short(term.sum)}.`,
    ),
    check(
      `Σ over ${found.terms.length} channels × ${term.filter.length} weight${term.filter.length > 1 ? "s" : ""}${steps[state.step].b ? " + bias" : ""}`,
      found.sum,
      "npresnet's y",
      found.value,
    ),
  ];
}

/** Small tables of kh × kw numbers with signs between them. */
function equation(state, parts, note) {
  const [kh, kw] = steps[state.step].kernel;
  const tables = parts.map(([title, data]) =>
    data ? grid(title, data, kh, kw) : element("span", { class: title.length > 1 ? "sign number" : "sign" }, title),
  );
  return element(
    "div",
    { class: "equation", tabindex: 0, role: "group", "aria-label": "Products of one channel" },
    element("div", { class: "parts" }, tables),
    element("p", { class: "note" }, note),
  );
}

function grid(title, data, kh, kw) {
  const limit = largest(data);
  const colours = palette();
  const rows = [];
  for (let i = 0; i < kh; i++) {
    rows.push(
      element(
        "tr",
        {},
        Array.from(data.slice(i * kw, (i + 1) * kw), (v) =>
          element("td", { style: cellStyle(v, limit, colours) }, short(v, 3)),
        ),
      ),
    );
  }
  return element(
    "table",
    { class: kw > 3 ? "grid small" : "grid" },
    element("caption", {}, title),
    element("tbody", {}, rows),
  );
}

/** The input channels that matter most, as bars to the left and right of zero. */
function shares(state) {
  const found = sumOf(state.step, state.n, state.row, state.column);
  if (!found) return null;
  const order = [...found.terms].sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum));
  const top = order.filter((term, place) => place < LISTED || term.channel === state.source);
  const rest = order.filter((term) => !top.includes(term));
  const limit = largest(order.map((term) => term.sum));
  const rows = top.map((term) =>
    choice(
      `term ${term.channel}`,
      `channel ${term.channel} brings ${short(term.sum)}`,
      term.channel === state.source,
      () => update({ source: term.channel }),
      { class: "term" },
      ...bar(String(term.channel), term.sum, limit),
    ),
  );
  const others = rest.reduce((sum, term) => sum + term.sum, 0);
  return element(
    "div",
    { class: "shares" },
    element("h3", {}, "What each channel of x brings"),
    roving(element("div", { role: "group", "aria-label": "Channels of x, the largest share first" }, rows)),
    rest.length > 0 && element("p", { class: "term" }, ...bar(`${rest.length} others`, others, limit)),
    steps[state.step].b && element("p", { class: "term" }, ...bar("bias", found.bias, limit)),
  );
}

function bar(name, v, limit) {
  const width = Math.min(50, (50 * Math.abs(v)) / limit);
  return [
    element("span", { class: "who" }, name),
    element(
      "span",
      { class: "track-bar" },
      element("span", { class: v < 0 ? "minus" : "plus", style: `width:${width}%;${v < 0 ? "right" : "left"}:50%` }),
    ),
    element("span", { class: "what" }, short(v)),
  ];
}

/** Two numbers that must agree, and by how much they do not. */
function check(what, sum, whose, value) {
  const off = Math.abs(sum - value);
  const good = off <= 1e-5 * Math.max(1, Math.abs(value));
  return element(
    "p",
    { class: "check", "data-sum": sum, "data-value": value },
    `${what} = `,
    element("output", {}, short(sum, 8)),
    element("span", { class: "whose" }, `${whose}: `, element("b", {}, short(value, 8))),
    element("span", { class: good ? "good" : "bad" }, `${good ? "✓" : "✗"} they differ by ${short(off, 2)}`),
  );
}
