// Choosing a block, a layer, a channel, a pixel.

function chooseBlock(name) {
  const own = steps.map((_, k) => k).filter((k) => steps[k].block === name);
  chooseStep(own.find((k) => multiplies(k)) ?? own.at(-1));
}

/** Show a layer: the channel and the pixel that move the score most, or those that are chosen already. */
function chooseStep(k) {
  const step = steps[k];
  const [, h, w] = step.shape;
  const before = steps[state.step];
  const dy = gradients(k, state.c);
  const moved = values(k).map((v, i) => Math.abs(v * dy[i]));
  const kept = before.shape[0] === step.shape[0] && state.n < channels(k).length;
  const n = kept ? state.n : strongest(Array.from(channels(k), (_, c) => map(moved, k, c).reduce((a, b) => a + b)));
  const same = before.shape[1] === h && before.shape[2] === w && state.step !== k && kept;
  const peak = strongest(map(moved, k, n));
  const [row, column] = stored(step, ...(same ? [state.row, state.column] : [Math.floor(peak / w), peak % w]));
  update({ block: step.block, step: k, n, row, column, source: bestSource(k, n, row, column) });
}

const strongest = (list) => list.indexOf(Math.max(...list));

/** The input channel that brings most to a sum; of the maps that the page has. */
function bestSource(k, n, row, column) {
  const found = multiplies(k) && sumOf(k, n, row, column);
  if (!found) return steps[k].inputs.length ? channels(steps[k].inputs[0])[0] : 0;
  const own = new Set(channels(steps[k].inputs[0]));
  const terms = found.terms.filter((term) => own.has(term.channel));
  return (terms.length ? terms : found.terms).reduce((a, b) => (Math.abs(b.sum) > Math.abs(a.sum) ? b : a)).channel;
}

/** The nearest pixel whose window the page has. */
function stored(step, row, column) {
  if (!step.pixels) return [row, column];
  const far = ([r, c]) => (r - row) ** 2 + (c - column) ** 2;
  return step.pixels.reduce((a, b) => (far(b) < far(a) ? b : a));
}

function chooseChannel(n) {
  const grouped = steps[state.step].groups > 1;
  update({ n, ...(grouped ? { source: bestSource(state.step, n, state.row, state.column) } : {}) });
}

function choosePixel(row, column) {
  const [, h, w] = steps[state.step].shape;
  const inside = (v, size) => Math.min(size - 1, Math.max(0, v));
  const [r, c] = stored(steps[state.step], inside(row, h), inside(column, w));
  update({ row: r, column: c });
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function movePixel(event) {
  const move = ARROWS[event.key];
  const step = steps[state.step];
  if (!move) return;
  event.preventDefault();
  if (!step.pixels) return choosePixel(state.row + move[0], state.column + move[1]);
  const ahead = step.pixels.filter(([r, c]) => (r - state.row) * move[0] + (c - state.column) * move[1] > 0);
  if (ahead.length) choosePixel(...ahead.reduce((a, b) => (distance(b) < distance(a) ? b : a)));
}

const distance = ([r, c]) => (r - state.row) ** 2 + (c - state.column) ** 2;
