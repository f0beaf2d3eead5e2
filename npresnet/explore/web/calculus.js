// The cheap half of a network, forward and back.  What is stored is npresnet's; what is derived here repeats its
// roundings: a Float32Array rounds whatever is put into it.

const round = Math.fround;

/** y of a step from its inputs. */
const forward = {
  relu: (step, x) => x.map((v) => (v > 0 ? v : 0)),
  norm: (step, x) => affine(x, numbers(step.a), numbers(step.b)),
  sum: (step, f, s) => f.map((v, i) => v + s[i]),
  subsample: (step, x) => subsample(step, x),
};

/** dx of a step from its dy: the transposes. */
const backward = {
  relu: (step, dy, x) => dy.map((v, i) => (x[i] > 0 ? v : 0)),
  norm: (step, dy) => affine(dy, numbers(step.a)),
  sum: (step, dy) => dy,
  subsample: (step, dy) => scatter(step, dy),
};

/** a x + b, each channel with its own a and b. */
function affine(x, a, b) {
  const y = new Float32Array(x.length);
  const size = x.length / a.length;
  for (let i = 0; i < x.length; i++) {
    const c = Math.floor(i / size);
    y[i] = b ? round(a[c] * x[i]) + b[c] : a[c] * x[i];
  }
  return y;
}

/** Where each pixel of a subsampled map comes from, in the larger map. */
function* sources(step) {
  const [, h, w] = step.shape;
  const [, H, W] = steps[step.inputs[0]].shape;
  const [down, along] = step.stride;
  for (let i = 0; i < channels(steps.indexOf(step)).length * h * w; i++) {
    const c = Math.floor(i / (h * w));
    const row = Math.floor((i % (h * w)) / w);
    const column = i % w;
    yield [i, (c * H + row * down) * W + column * along];
  }
}

function subsample(step, x) {
  const y = new Float32Array(channels(steps.indexOf(step)).length * step.shape[1] * step.shape[2]);
  for (const [small, large] of sources(step)) y[small] = x[large];
  return y;
}

function scatter(step, dy) {
  const [, H, W] = steps[step.inputs[0]].shape;
  const dx = new Float32Array(channels(step.inputs[0]).length * H * W);
  for (const [small, large] of sources(step)) dx[large] += dy[small];
  return dx;
}

const known = new Map();

function once(key, make) {
  if (!known.has(key)) known.set(key, make());
  return known.get(key);
}

/** The output of step k: (n, h, w), the channels that the page has. */
function values(k) {
  const step = steps[k];
  return once(`y ${k}`, () => (step.y ? numbers(step.y) : forward[step.kind](step, ...step.inputs.map(values))));
}

/** dy: the gradient of the c-th followed score with respect to the output of step k, the sum over all that read it. */
function gradients(k, c) {
  const step = steps[k];
  return once(`dy ${k} ${c}`, () => {
    if (step.dy) return numbers(step.dy, c);
    return readers[k].map((r) => sentBack(r, c)).reduce((sum, dx) => sum.map((v, i) => v + dx[i]));
  });
}

/** dx = f′ᵀ dy: what step r sends back to what it reads. */
function sentBack(r, c) {
  const step = steps[r];
  if (step.dx) return numbers(step.dx, c);
  return once(`dx ${r} ${c}`, () => backward[step.kind](step, gradients(r, c), values(step.inputs[0])));
}
