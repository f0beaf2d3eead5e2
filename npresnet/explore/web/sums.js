// The arithmetic of one pixel, forward and back, with the very numbers.

/** What is written of a pixel of each kind of layer: forward, and back. */
const WRITTEN = {
  conv: [product, transposed],
  Linear: [product, transposed],
  norm: [(state) => [line(state, "a · x + b", "y")], removed],
  sum: [(state) => [line(state, "F(x) + S(x)", "y"), bothPaths(state)], (state) => [bothPaths(state)]],
  relu: [(state) => [line(state, "max(x, 0)", "y")], (state) => [line(state, "dy · [y > 0]", "dx")]],
};

function drawSums(state) {
  const { kind, inputs } = steps[state.step];
  fill("terms", multiplies(state.step) && (state.back ? picker(state) : shares(state)));
  fill("sums", inputs.length > 0 && kind in WRITTEN ? WRITTEN[kind][Number(state.back)](state) : []);
}

/** One line with the numbers of the chosen pixel put into the layer's formula. */
function line(state, formula, name) {
  const step = steps[state.step];
  const at = state.row * step.shape[2] + state.column;
  const pick = (all) => map(all, state.step, state.n)[at];
  const [x, other] = step.inputs.map((source) => pick(values(source)));
  const dy = state.back && pick(gradients(state.step, state.c));
  const y = state.back ? pick(sentBack(state.step, state.c)) : pick(values(state.step));
  const a = step.a && short(numbers(step.a)[state.n], 6);
  const put = {
    norm: () =>
      state.back ? `${a} · ${short(dy, 6)}` : `${a} · ${short(x, 6)} + ${short(numbers(step.b)[state.n], 6)}`,
    sum: () => `${short(x, 6)} + ${short(other, 6)}`,
    relu: () => (state.back ? `${short(dy, 6)} · ${pick(values(state.step)) > 0 ? 1 : 0}` : `max(${short(x, 6)}, 0)`),
  };
  return element(
    "p",
    { class: "check", "data-value": y },
    `${name} = ${formula} = ${put[step.kind]()} = `,
    element("b", {}, short(y, 6)),
  );
}

/** How much of the sum each path brings; back, of the gradient where the paths part. */
function bothPaths(state) {
  const block = given.blocks.find((one) => one.name === steps[state.step].block);
  const both = paths(block, state);
  const share = shareOfBranch(both);
  const [f, s] = state.back ? ["F′ᵀdy", "S′ᵀdy"] : ["F(x)", "S(x)"];
  return element(
    "p",
    { class: "check" },
    state.back ? "Where the paths part, these two are added: " : "Over all channels and pixels: ",
    element("b", { class: "plain" }, `‖${f}‖ = ${short(both[0])} (${percent(share)})`),
    " and ",
    element("b", { class: "residual" }, `‖${s}‖ = ${short(both[1])} (${percent(1 - share)})`),
  );
}
