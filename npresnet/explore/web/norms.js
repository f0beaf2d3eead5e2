// The two directions of dy that a batch norm removes in training.

/** dy = mean(dy) + x̂ mean(dy · x̂) + what passes: three maps that are orthogonal, and their shares of ‖dy‖². */
function removed(state) {
  const step = steps[state.step];
  const [, h, w] = step.shape;
  const dy = map(gradients(state.step, state.c), state.step, state.n);
  const here = line(state, "a · dy", "dx");
  if (!step.moments)
    return [here, element("p", { class: "note" }, "The map has one value, and so no statistics of its own.")];
  const parts = directions(state.step, state.n, state.c);
  const limit = largest(dy);
  const whole = energy(dy) || 1;
  const figure = (title, data, sign) => [
    sign && element("span", { class: "sign", "aria-hidden": "true" }, sign),
    smallMap(title, data, h, w, limit, energy(data) / whole),
  ];
  return [
    here,
    element(
      "div",
      { class: "directions" },
      element("h3", {}, "In training: dy without its components along 1 and along x̂"),
      element(
        "p",
        { class: "note" },
        "Taking this image alone for the batch. Moving x along either direction leaves x̂ as it is, so the gradient along it is zero. Percentages are shares of ‖dy‖².",
      ),
      element(
        "div",
        { class: "parts" },
        figure("dy", dy),
        figure("along 1: mean(dy)", parts.one, "="),
        figure("along x̂: x̂ · mean(dy · x̂)", parts.xHat, "+"),
        figure("what passes", parts.passes, "+"),
      ),
    ),
  ];
}

/** The three parts of dy, from npresnet's moments. */
function directions(k, n, c) {
  const step = steps[k];
  const x = map(values(step.inputs[0]), k, n);
  const dy = map(gradients(k, c), k, n);
  const width = channels(k).length;
  const [mean, inverse] = [numbers(step.moments)[n], numbers(step.moments)[width + n]];
  const along = numbers(step.removed, c);
  const one = dy.map(() => along[n]);
  const xHat = x.map((v) => (v - mean) * inverse * along[width + n]);
  return { one, xHat, passes: dy.map((v, i) => v - one[i] - xHat[i]) };
}

const energy = (data) => data.reduce((sum, v) => sum + v * v, 0);

function smallMap(title, data, h, w, limit, share) {
  const canvas = element("canvas", { role: "img", "aria-label": `${title}: ${percent(share)}` });
  paint(canvas, data, h, w, limit);
  return element(
    "figure",
    {},
    element("div", { class: "map", style: ratio(h, w) }, canvas),
    element("figcaption", {}, title, element("b", {}, ` ${percent(share)}`)),
  );
}
