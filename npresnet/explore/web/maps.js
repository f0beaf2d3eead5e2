// The maps of a layer, and the two in the lens: what it reads and what it makes, with one pixel chosen.

/** What is shown of step k: its output y, or dy, the gradient that arrives there. */
const shown = (k, state) => (state.back ? gradients(k, state.c) : values(k));

function drawLayer(state) {
  const step = steps[state.step];
  const [C, h, w] = step.shape;
  const count = channels(state.step).length;
  const here = count < C ? `${count} of ${C} channels` : `${C} channel${C > 1 ? "s" : ""}`;
  document.getElementById("layer-title").textContent =
    `${step.kind === "sum" ? `${step.name}: the sum` : step.name} · ${here} of ${h}×${w}`;
  document.getElementById("layer-note").replaceChildren(...explained(step, state));
}

function explained(step, state) {
  const math = (text) => element("span", { class: "math" }, text);
  const about = {
    image: [
      ["The image as the network is given it: resized, cropped, normalised."],
      ["What would raise the score: its gradient with respect to each pixel."],
    ],
    conv: [
      [
        "Each filter slides over all channels: ",
        math("y = Σ w · x"),
        ". Choose an output pixel to see the window it sees, and its sum.",
      ],
      [
        "The transpose: ",
        math("dx = Wᵀ dy"),
        ". Each dy goes back through the filter to the very pixels that its output saw.",
      ],
    ],
    Linear: [
      ["A score is one sum over all channels: ", math("z = Σ w · x + b"), "."],
      ["The cotangent: 1 for the class that is followed, 0 for all others."],
    ],
    norm: [
      ["With running statistics, one affine map for each channel: ", math("y = a x + b"), "."],
      [
        "As the network is used, ",
        math("dx = a dy"),
        ". In training two directions of dy are removed; see below what that would leave.",
      ],
    ],
    relu: [
      [math("y = max(x, 0)"), "."],
      [math("dx = dy · [y > 0]"), ": the gradient passes where the output is positive."],
    ],
    sum: [[math("y = F(x) + S(x)"), ", pixel by pixel."], ["A sum hands dy on to both of its inputs, as it is."]],
  };
  return (about[step.kind] ?? [
    [`${step.kind}: what it makes of its input.`],
    [`${step.kind}: the gradient that arrives at its output.`],
  ])[Number(state.back)];
}

function drawMaps(state) {
  const all = shown(state.step, state);
  const [, h, w] = steps[state.step].shape;
  const limit = largest(all);
  const buttons = Array.from(channels(state.step), (channel, n) => {
    const canvas = element("canvas", { "aria-hidden": "true" });
    paint(canvas, map(all, state.step, n), h, w, limit);
    return choice(
      `map ${n}`,
      `${channelName(state.step, channel)}, at most ${short(largest(map(all, state.step, n)), 3)} in size`,
      n === state.n,
      () => chooseChannel(n),
      { class: "thumb", title: channelName(state.step, channel) },
      canvas,
      element("span", { class: "size" }, scoreOf(state.step, channel)?.name ?? String(channel)),
    );
  });
  const group = element(
    "div",
    {
      class: "thumbs",
      role: "group",
      "aria-label": state.back ? "Gradients dy, a channel each" : "Maps y, a channel each",
    },
    buttons,
  );
  fill("maps", roving(group), legend(limit));
}

function channelName(k, channel) {
  if (steps[k].kind === "image" && given.channels.length === steps[k].shape[0])
    return `channel ${given.channels[channel]}`;
  const row = scoreOf(k, channel);
  return row ? `score of ${row.name}` : `channel ${channel}`;
}

/** The row of a class, if step k makes the scores. */
const scoreOf = (k, channel) =>
  k === steps.length - 1 ? given.scores.find((row) => row.class === channel) : undefined;

function legend(limit) {
  const ramp = element("canvas", { class: "ramp", "aria-hidden": "true" });
  paint(
    ramp,
    Float32Array.from({ length: 65 }, (_, i) => i / 32 - 1),
    1,
    65,
  );
  return element(
    "p",
    { class: "legend" },
    `−${short(limit, 3)}`,
    ramp,
    `+${short(limit, 3)}`,
    element("span", { class: "note" }, " the same scale for all maps of the layer"),
  );
}
