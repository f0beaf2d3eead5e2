// Windows: what an output pixel sees of the layer's input and of the image, the products behind it, and the way back.

/** Whether step k multiplies windows of its input with filters. */
const multiplies = (k) => Boolean(steps[k].w);

/** Where the window of output pixel (row, column) begins in the input, which may be outside. */
function corner(step, row, column) {
  return [row * step.stride[0] - step.padding[0][0], column * step.stride[1] - step.padding[1][0]];
}

/** The rows and columns [top, left, bottom, right] of the input, which has `shape`, that a region of a step's output sees. */
function regionBefore(step, region, shape) {
  const [, h, w] = step.shape;
  const [, H, W] = shape;
  if (step.whole || step.kind === "Linear" || (!step.stride && (h !== H || w !== W))) return [0, 0, H, W];
  if (!step.stride) return region;
  const ends = [0, 1].map((i) => {
    const { kernel = [1, 1], padding = [[0], [0]], dilation = [1, 1], stride } = step;
    const before = (at) => at * stride[i] - padding[i][0];
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
      const more = regionBefore(steps[i], regions[i], steps[source].shape);
      const old = regions[source] ?? more;
      regions[source] = more.map((v, end) => (end < 2 ? Math.min(v, old[end]) : Math.max(v, old[end])));
    }
  }
  const [, H, W] = steps[0].shape;
  const [top, left, bottom, right] = regions[0];
  return [Math.max(0, top), Math.max(0, left), Math.min(H, bottom), Math.min(W, right)];
}

/** The window (C, kh, kw) of the input that output pixel (row, column) sees; null where the page does not have it. */
function windowAt(k, row, column) {
  const step = steps[k];
  if (step.pixels) {
    const found = step.pixels.findIndex(([r, c]) => r === row && c === column);
    return found < 0 ? null : numbers(step.windows, found);
  }
  const x = values(step.inputs[0]);
  const [C, H, W] = steps[step.inputs[0]].shape;
  const [kh, kw] = step.kernel;
  const [top, left] = corner(step, row, column);
  const seen = new Float32Array(C * kh * kw);
  for (let t = 0; t < seen.length; t++) {
    const i = top + step.dilation[0] * Math.floor((t % (kh * kw)) / kw);
    const j = left + step.dilation[1] * (t % kw);
    if (i >= 0 && i < H && j >= 0 && j < W) seen[t] = x[(Math.floor(t / (kh * kw)) * H + i) * W + j];
  }
  return seen;
}

/** What output pixel (n, row, column) of step k is the sum of: {terms: one for each input channel, bias, sum, value}. */
function sumOf(k, n, row, column) {
  const step = steps[k];
  const x = windowAt(k, row, column);
  if (!x) return null;
  const w = numbers(step.w, n);
  const taps = step.kernel[0] * step.kernel[1];
  const first = firstChannel(k, n);
  const terms = [];
  for (let c = 0; c < w.length / taps; c++) {
    const window = x.subarray((first + c) * taps, (first + c + 1) * taps);
    const filter = w.subarray(c * taps, (c + 1) * taps);
    const products = Array.from(window, (v, t) => v * filter[t]);
    terms.push({ channel: first + c, window, filter, products, sum: products.reduce((a, b) => a + b, 0) });
  }
  const bias = step.b ? numbers(step.b)[n] : 0;
  const sum = terms.reduce((all, term) => all + term.sum, bias);
  return { terms, bias, sum, value: map(values(k), k, n)[row * step.shape[2] + column] };
}

/** The first input channel that filter n reads: 0, unless channels fall into groups. */
function firstChannel(k, n) {
  const step = steps[k];
  const C = steps[step.inputs[0]].shape[0];
  return Math.floor((channels(k)[n] * step.groups) / step.shape[0]) * (C / step.groups);
}

/** dx at input pixel (channel, i, j) as the sum of w · dy over all filters and windows that hold it; null without all. */
function sumBack(k, c, channel, i, j) {
  const step = steps[k];
  const [F, h, w] = step.shape;
  const [kh, kw] = step.kernel;
  const source = step.inputs[0];
  if (channels(k).length < F || channels(source).length < steps[source].shape[0]) return null;
  const dy = gradients(k, c);
  const perGroup = steps[source].shape[0] / step.groups;
  let sum = 0;
  let count = 0;
  for (let t = 0; t < kh * kw; t++) {
    const down = i + step.padding[0][0] - step.dilation[0] * Math.floor(t / kw);
    const along = j + step.padding[1][0] - step.dilation[1] * (t % kw);
    const row = down / step.stride[0];
    const column = along / step.stride[1];
    if (!Number.isInteger(row) || !Number.isInteger(column) || row < 0 || row >= h || column < 0 || column >= w)
      continue;
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
