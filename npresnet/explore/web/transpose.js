// The same products on their way back: dy through the filter to the pixels of x that it reaches.

function transposed(state) {
  const step = steps[state.step];
  const k = state.step;
  const taps = step.kernel[0] * step.kernel[1];
  const first = firstChannel(k, state.n);
  const w = numbers(step.w, state.n);
  const own = state.source - first;
  if (own < 0 || own * taps >= w.length)
    return [element("p", { class: "note" }, "This filter does not read that channel.")];
  const dy = map(gradients(k, state.c), k, state.n)[state.row * step.shape[2] + state.column];
  const filter = w.subarray(own * taps, (own + 1) * taps);
  const parts = Array.from(filter, (v) => v * dy);
  return [
    equation(
      state,
      [[`dy = ${short(dy)}`], ["×"], ["filter w", filter], ["="], ["its part of dx", parts]],
      `These are the pixels of x that this dy reaches, in channel ${state.source}.`,
    ),
    reached(state),
  ];
}

/** The buttons that choose a channel of x. */
function picker(state) {
  const buttons = Array.from(channels(steps[state.step].inputs[0]), (channel) =>
    choice(`source ${channel}`, String(channel), channel === state.source, () => update({ source: channel })),
  );
  return element(
    "div",
    { class: "shares" },
    element("h3", {}, "Channel of x"),
    roving(element("div", { class: "picker", role: "group", "aria-label": "Channel of x" }, buttons)),
  );
}

/** dx at the middle of the window: the sum over every filter and every window that holds it, beside npresnet's. */
function reached(state) {
  const step = steps[state.step];
  const [, H, W] = steps[step.inputs[0]].shape;
  const [top, left] = corner(step, state.row, state.column);
  const i = Math.min(H - 1, Math.max(0, top + step.dilation[0] * (step.kernel[0] >> 1)));
  const j = Math.min(W - 1, Math.max(0, left + step.dilation[1] * (step.kernel[1] >> 1)));
  const found = sumBack(state.step, state.c, state.source, i, j);
  if (!found)
    return element(
      "p",
      { class: "note" },
      "dx itself sums over every filter; the page has not all of them here, npresnet had: the map of dx is whole.",
    );
  return check(
    `dx in the middle, row ${i}, column ${j}: Σ over the ${found.count} w · dy that reach it`,
    found.sum,
    "npresnet's dx",
    found.value,
  );
}
