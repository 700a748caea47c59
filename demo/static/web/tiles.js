// Large pictures in tiles with one set of statistics, as stylecore.inference.tiling computes them.
const SAMPLE_SIDE = 256;
const SAMPLES = 36;
const TILE_SIDE = 1024;
const SMALLEST_SIDE = 64;
const LARGEST_WHOLE = 4e6; // pixels

export const inTiles = ({ height, width }) => height * width > LARGEST_WHOLE && Math.min(height, width) >= SMALLEST_SIDE;

export const part = ({ width, data }, top, left, h, w) => {
  const result = new Float32Array(h * w * 3);
  for (let y = 0; y < h; y += 1) {
    const from = ((top + y) * width + left) * 3;
    result.set(data.subarray(from, from + w * 3), y * w * 3);
  }
  return { height: h, width: w, data: result };
};

// `count` begins, the first at 0 and the last at `end`; a single one in the middle.
const spread = (end, count) => (count === 1 ? [Math.floor(end / 2)]
  : Array.from({ length: count }, (_, i) => Math.round((end * i) / (count - 1))));

// Squares spread evenly over the picture.
export const samples = (picture) => {
  const { height, width } = picture;
  const [h, w] = [height, width].map((length) => Math.min(SAMPLE_SIDE, Math.floor(length / 4) * 4));
  const rows = Math.min(Math.max(1, Math.round(Math.sqrt((SAMPLES * height) / width))), Math.ceil(height / h), SAMPLES);
  const columns = Math.min(Math.floor(SAMPLES / rows), Math.ceil(width / w));
  return spread(height - h, rows).flatMap((top) => spread(width - w, columns).map((left) => part(picture, top, left, h, w)));
};

const cuts = (length) => {
  const step = Math.ceil(Math.ceil(length / Math.ceil(length / TILE_SIDE)) / 4) * 4;
  return Array.from({ length: Math.ceil(length / step) }, (_, i) => [i * step, Math.min((i + 1) * step, length)]);
};

// The picture, painted tile by tile. `paint` is given a tile with its context, and returns it painted; `done` is given
// the share that is done, and may throw.
export const paintTiles = async (picture, radius, paint, done) => {
  const { height, width } = picture;
  const result = new Float32Array(height * width * 3);
  let pixels = 0;
  for (const [top, bottom] of cuts(height)) {
    for (const [left, right] of cuts(width)) {
      const [above, before] = [Math.max(0, top - radius), Math.max(0, left - radius)];
      const context = part(picture, above, before, Math.min(height, bottom + radius) - above, Math.min(width, right + radius) - before);
      const painted = part(await paint(context), top - above, left - before, bottom - top, right - left);
      for (let y = top; y < bottom; y += 1) {
        const from = (y - top) * (right - left) * 3;
        result.set(painted.data.subarray(from, from + (right - left) * 3), (y * width + left) * 3);
      }
      pixels += (bottom - top) * (right - left);
      await done(pixels / (height * width));
    }
  }
  return { height, width, data: result };
};
