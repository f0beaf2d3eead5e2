// Maps as pixels: what is above zero in one colour, below in another, zero in the colour of the page.

function colour(name) {
  const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

/** v in [−1, 1] → red, green, blue. */
function shade(v, palette) {
  const end = v < 0 ? palette.minus : palette.plus;
  const t = Math.min(1, Math.abs(v)) ** 0.8;
  return palette.zero.map((z, i) => Math.round(z + t * (end[i] - z)));
}

const palette = () => ({ plus: colour("--plus"), minus: colour("--minus"), zero: colour("--zero") });

function largest(data) {
  let limit = 0;
  for (const v of data) limit = Math.max(limit, Math.abs(v));
  return limit || 1;
}

/** Draw a map (h, w) into a canvas of as many pixels; `limit` is the value of the full colour. */
function paint(canvas, data, h, w, limit = largest(data)) {
  const colours = palette();
  pixels(canvas, h, w, (i) => [...shade(data[i] / limit, colours), 255]);
}

/** Draw three channels as red, green and blue, each in its own range. */
function paintColours(canvas, data, h, w, order) {
  const size = h * w;
  const planes = ["R", "G", "B"].map((name) =>
    data.subarray(order.indexOf(name) * size, (order.indexOf(name) + 1) * size),
  );
  const ranges = planes.map((plane) =>
    plane.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]),
  );
  pixels(canvas, h, w, (i) => [
    ...planes.map((plane, c) => (255 * (plane[i] - ranges[c][0])) / (ranges[c][1] - ranges[c][0] || 1)),
    255,
  ]);
}

/** Draw heat in [0, 1] as more or less of one colour. */
function paintHeat(canvas, heat, h, w) {
  const limit = Math.max(...heat) || 1;
  const hot = colour("--hot");
  pixels(canvas, h, w, (i) => [...hot, Math.round(255 * Math.max(0, heat[i] / limit))]);
}

function pixels(canvas, h, w, rgba) {
  canvas.width = w;
  canvas.height = h;
  const context = canvas.getContext("2d");
  const image = context.createImageData(w, h);
  for (let i = 0; i < h * w; i++) image.data.set(rgba(i), 4 * i);
  context.putImageData(image, 0, 0);
}

/** The style of a cell with value v: its colour, and black or white on it, whichever is easier to read. */
function cellStyle(v, limit, colours) {
  const rgb = shade(v / limit, colours);
  const [r, g, b] = rgb.map((c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return `background:rgb(${rgb});color:${0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff"}`;
}
