// What npresnet computed: plain values, and one run of little-endian float32 that they point into.

const given = JSON.parse(document.getElementById("values").textContent);
const floats = decode(document.getElementById("floats").textContent);
const steps = given.steps;

function decode(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Float32Array(bytes.buffer);
}

/** The numbers of an array; with `index`, those of its index-th part along the first axis. */
function numbers({ at, shape }, index) {
  const size = shape.reduce((a, b) => a * b, 1);
  if (index === undefined) return floats.subarray(at, at + size);
  const part = size / shape[0];
  return floats.subarray(at + index * part, at + (index + 1) * part);
}

/** The channels of a step that the page has, by their numbers in the network. */
const channels = (k) => numbers(steps[k].channels);

/** One map (h·w) out of maps (n, h, w) of step k. */
function map(all, k, n) {
  const [, h, w] = steps[k].shape;
  return all.subarray(n * h * w, (n + 1) * h * w);
}

/** The steps that read the output of each step. */
const readers = steps.map(() => []);
steps.forEach((step, k) => new Set(step.inputs).forEach((source) => readers[source].push(k)));

/** Four digits, and a minus that is as wide as a plus. */
function short(v, digits = 4) {
  if (v === 0) return "0";
  const size = Math.abs(v);
  const text = size >= 1e-3 && size < 1e5 ? String(Number(v.toPrecision(digits))) : v.toExponential(digits - 2);
  return text.replaceAll("-", "−");
}

const percent = (v) => `${v < 0.0995 && v > 0 ? (100 * v).toFixed(1) : Math.round(100 * v)} %`;
