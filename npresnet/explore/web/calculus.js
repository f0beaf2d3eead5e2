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
    const c = Math.floor(i / (h * w)), row = Math.floor((i % (h * w)) / w), column = i % w;
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

/** Whether step k multiplies windows of its input with filters. */
const multiplies = (k) => Boolean(steps[k].w);

/** Where the window of output pixel (row, column) begins in the input, which may be outside. */
function corner(step, row, column) {
  return [row * step.stride[0] - step.padding[0][0], column * step.stride[1] - step.padding[1][0]];
}

/** The rows and columns [top, left, bottom, right] of the input, which has `shape`, that a region of a step's output sees. */
function regionBefore(step, region, shape) {
  const [, h, w] = step.shape, [, H, W] = shape;
  if (step.whole || step.kind === "Linear" || (!step.stride && (h !== H || w !== W))) return [0, 0, H, W];
  if (!step.stride) return region;
  const ends = [0, 1].map((i) => {
    const { kernel = [1, 1], padding = [[0], [0]], dilation = [1, 1], stride } = step, before = (at) => at * stride[i] - padding[i][0];
    return [before(region[i]), before(region[i + 2] - 1) + (kernel[i] - 1) * dilation[i] + 1];
  });
  return [ends[0][0], ends[1][0], ends[0][1], ends[1][1]];
}

/** The region of the image that output pixel (row, column) of step k sees through all layers; null where some are not here. */
function seenInImage(k, row, column) {
  const regions = { [k]: [row, column, row + 1, column + 1] };
  for (let i = k; i > 0; i--) {
    if (!regions[i]) continue;
    if (!steps[i].inputs.length) return null;
    for (const source of steps[i].inputs) {
      const more = regionBefore(steps[i], regions[i], steps[source].shape), old = regions[source] ?? more;
      regions[source] = more.map((v, end) => (end < 2 ? Math.min(v, old[end]) : Math.max(v, old[end])));
    }
  }
  const [, H, W] = steps[0].shape, [top, left, bottom, right] = regions[0];
  return [Math.max(0, top), Math.max(0, left), Math.min(H, bottom), Math.min(W, right)];
}

/** The window (C, kh, kw) of the input that output pixel (row, column) sees; null where the page does not have it. */
function windowAt(k, row, column) {
  const step = steps[k];
  if (step.pixels) {
    const found = step.pixels.findIndex(([r, c]) => r === row && c === column);
    return found < 0 ? null : numbers(step.windows, found);
  }
  const x = values(step.inputs[0]), [C, H, W] = steps[step.inputs[0]].shape, [kh, kw] = step.kernel;
  const [top, left] = corner(step, row, column), seen = new Float32Array(C * kh * kw);
  for (let t = 0; t < seen.length; t++) {
    const i = top + step.dilation[0] * Math.floor((t % (kh * kw)) / kw), j = left + step.dilation[1] * (t % kw);
    if (i >= 0 && i < H && j >= 0 && j < W) seen[t] = x[(Math.floor(t / (kh * kw)) * H + i) * W + j];
  }
  return seen;
}

/** What output pixel (n, row, column) of step k is the sum of: {terms: one for each input channel, bias, sum, value}. */
function sumOf(k, n, row, column) {
  const step = steps[k], x = windowAt(k, row, column);
  if (!x) return null;
  const w = numbers(step.w, n), taps = step.kernel[0] * step.kernel[1], first = firstChannel(k, n);
  const terms = [];
  for (let c = 0; c < w.length / taps; c++) {
    const window = x.subarray((first + c) * taps, (first + c + 1) * taps), filter = w.subarray(c * taps, (c + 1) * taps);
    const products = Array.from(window, (v, t) => v * filter[t]);
    terms.push({ channel: first + c, window, filter, products, sum: products.reduce((a, b) => a + b, 0) });
  }
  const bias = step.b ? numbers(step.b)[n] : 0;
  const sum = terms.reduce((all, term) => all + term.sum, bias);
  return { terms, bias, sum, value: map(values(k), k, n)[row * step.shape[2] + column] };
}

/** The first input channel that filter n reads: 0, unless channels fall into groups. */
function firstChannel(k, n) {
  const step = steps[k], C = steps[step.inputs[0]].shape[0];
  return Math.floor((channels(k)[n] * step.groups) / step.shape[0]) * (C / step.groups);
}

/** dx at input pixel (channel, i, j) as the sum of w · dy over all filters and windows that hold it; null without all. */
function sumBack(k, c, channel, i, j) {
  const step = steps[k], [F, h, w] = step.shape, [kh, kw] = step.kernel, source = step.inputs[0];
  if (channels(k).length < F || channels(source).length < steps[source].shape[0]) return null;
  const dy = gradients(k, c), perGroup = steps[source].shape[0] / step.groups;
  let sum = 0, count = 0;
  for (let t = 0; t < kh * kw; t++) {
    const down = i + step.padding[0][0] - step.dilation[0] * Math.floor(t / kw);
    const along = j + step.padding[1][0] - step.dilation[1] * (t % kw);
    const row = down / step.stride[0], column = along / step.stride[1];
    if (!Number.isInteger(row) || !Number.isInteger(column) || row < 0 || row >= h || column < 0 || column >= w) continue;
    for (let n = 0; n < F; n++) {
      const own = channel - firstChannel(k, n);
      if (own < 0 || own >= perGroup) continue;
      sum += numbers(step.w, n)[own * kh * kw + t] * dy[(n * h + row) * w + column];
      count++;
    }
  }
  const [, H, W] = steps[source].shape;
  return { sum, count, value: sentBack(k, c)[(channel * H + i) * W + j] };
}
