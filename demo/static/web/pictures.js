// Pictures as stylecore.pictures.read, inference.brush, johnson.transform_net.add_noise and color compute them.
// A picture is {height, width, data}: RGB, interleaved; float in [0, 1], or RGBA in 8 bits from a canvas.
const LUMA = [0.299, 0.587, 0.114];
const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
export const LANCZOS = { radius: 3, at: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) };
const cubic = (a) => (x) => {
  const t = Math.abs(x);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
};
export const BICUBIC = { radius: 2, at: cubic(-0.5) };

const roundEven = (x) => {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 ? low + 1 : low;
};

// [height, width] at which the network paints: the longest side is at most `side`, divided by `brush`.
export const paintedSize = (height, width, side, brush) => {
  const scale = Math.min(1, side / Math.max(height, width)) / brush;
  return [height, width].map((length) => Math.max(1, roundEven(length * scale)));
};

// For every position of the result: the first source position and the weights from there on.
const taps = (source, target, filter) => {
  const scale = source / target;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: target }, (_, index) => {
    const center = (index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - filter.radius * stretch + 0.5));
    const last = Math.min(source, Math.trunc(center + filter.radius * stretch + 0.5));
    const weights = Float32Array.from({ length: last - first }, (__, j) => filter.at((j + first - center + 0.5) / stretch));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
};

// (height, width) of interleaved samples to another width; `channels` of `stride` samples a pixel, times `factor`.
const widths = (data, height, width, target, filter, stride, factor) => {
  const across = taps(width, target, filter);
  const result = new Float32Array(height * target * 3);
  for (let y = 0, at = 0; y < height; y += 1) {
    for (const { first, weights } of across) {
      let from = (y * width + first) * stride;
      let red = 0; let green = 0; let blue = 0;
      for (let j = 0; j < weights.length; j += 1, from += stride) {
        red += weights[j] * data[from]; green += weights[j] * data[from + 1]; blue += weights[j] * data[from + 2];
      }
      result[at] = red * factor; result[at + 1] = green * factor; result[at + 2] = blue * factor;
      at += 3;
    }
  }
  return result;
};

// One row of the result of a change of heights.
const row = (data, length, { first, weights }, result) => {
  result.fill(0);
  for (let j = 0; j < weights.length; j += 1) {
    const from = (first + j) * length;
    for (let x = 0; x < length; x += 1) result[x] += weights[j] * data[from + x];
  }
};

const clip = (x) => Math.min(1, Math.max(0, x));

// A canvas's pixels with their colors over white, which is what is painted; their alpha is kept.
export const overWhite = (picture) => {
  const { data } = picture;
  for (let i = 0; i < data.length; i += 4) {
    const alpha = data[i + 3];
    for (let c = i; alpha < 255 && c < i + 3; c += 1) data[c] = Math.floor((data[c] * alpha) / 255 + 255 - alpha + 0.5);
  }
  return picture;
};

// Back: such that the pixels over white have these colors.
export const withoutWhite = (data) => {
  for (let i = 0; i < data.length; i += 4) {
    const alpha = data[i + 3];
    for (let c = i; alpha > 0 && alpha < 255 && c < i + 3; c += 1) data[c] = Math.floor(((data[c] - 255 + alpha) * 255) / alpha + 0.5);
  }
  return data;
};

// A canvas's pixels (RGBA in 8 bits) at another size, clipped to [0, 1].
export const reduce = ({ height, width, data }, [h, w]) => {
  if (h === height && w === width) {
    return { height, width, data: Float32Array.from({ length: h * w * 3 }, (_, i) => data[Math.floor(i / 3) * 4 + (i % 3)] / 255) };
  }
  const narrow = widths(data, height, width, w, BICUBIC, 4, 1 / 255);
  const result = new Float32Array(h * w * 3);
  taps(height, h, BICUBIC).forEach((tap, y) => row(narrow, w * 3, tap, result.subarray(y * w * 3, (y + 1) * w * 3)));
  return { height: h, width: w, data: result.map(clip) };
};

// The painted picture at the photo's size, with a share of the photo's fine detail: RGBA in 8 bits.
export const layDetail = (painted, reduced, photo, share) => {
  const { height, width } = photo;
  const same = painted.height === height && painted.width === width;
  const detail = same || Math.min(height, width) < Math.min(painted.height, painted.width) ? 0 : share;
  const coarse = painted.data.slice();
  for (let i = 0; detail && i < coarse.length; i += 3) {
    const light = LUMA[0] * reduced.data[i] + LUMA[1] * reduced.data[i + 1] + LUMA[2] * reduced.data[i + 2];
    for (let c = 0; c < 3; c += 1) coarse[i + c] -= detail * light;
  }
  const wide = same ? coarse : widths(coarse, painted.height, painted.width, width, LANCZOS, 3, 1);
  const down = taps(painted.height, height, LANCZOS);
  const line = new Float32Array(width * 3);
  const result = new Uint8ClampedArray(height * width * 4);
  for (let y = 0; y < height; y += 1) {
    row(wide, width * 3, same ? { first: y, weights: [1] } : down[y], line);
    for (let x = 0, at = y * width * 4; x < width; x += 1, at += 4) {
      const { data } = photo;
      const light = detail * (LUMA[0] * data[at] + LUMA[1] * data[at + 1] + LUMA[2] * data[at + 2]) / 255;
      for (let c = 0; c < 3; c += 1) result[at + c] = Math.floor(clip(line[x * 3 + c] + light) * 255 + 0.5);
      result[at + 3] = data[at + 3];
    }
  }
  return { height, width, data: result };
};

// The picture to show: mixed with the photo, with the photo's colors if asked for.
export const blend = (photo, stylized, strength, keepColors) => {
  const result = new Uint8ClampedArray(stylized.data);
  const [a, b] = [photo.data, stylized.data];
  if (strength === 1 && !keepColors) return result;
  for (let i = 0; i < result.length; i += 4) {
    const change = LUMA[0] * (b[i] - a[i]) + LUMA[1] * (b[i + 1] - a[i + 1]) + LUMA[2] * (b[i + 2] - a[i + 2]);
    for (let c = 0; c < 3; c += 1) {
      const target = keepColors ? Math.min(255, Math.max(0, a[i + c] + change)) : b[i + c];
      result[i + c] = Math.floor(a[i + c] + strength * (target - a[i + c]) + 0.5);
    }
  }
  return result;
};

// Mersenne Twister (Matsumoto and Nishimura 1998), which torch uses, for numbers of 24 bits in [0, 1).
const uniform = (seed) => {
  const state = new Uint32Array(624);
  state[0] = seed;
  for (let i = 1; i < 624; i += 1) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  let next = 624;
  return () => {
    if (next === 624) {
      for (let i = 0; i < 624; i += 1) {
        const y = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
        state[i] = state[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      next = 0;
    }
    let y = state[next];
    next += 1;
    y ^= y >>> 11; y ^= (y << 7) & 0x9d2c5680; y ^= (y << 15) & 0xefc60000; y ^= y >>> 18;
    return (y & 0xffffff) / 0x1000000;
  };
};

// torch.randn of `count` numbers: Box and Muller in groups of 16; a last group that is not full is drawn anew.
const normal = (count, draw) => {
  const size = Math.max(16, count);
  const values = Float32Array.from({ length: size }, draw);
  const transform = (at) => {
    for (let j = at; j < at + 8; j += 1) {
      const radius = Math.sqrt(-2 * Math.log(1 - values[j]));
      const angle = 2 * Math.PI * values[j + 8];
      values[j] = radius * Math.cos(angle);
      values[j + 8] = radius * Math.sin(angle);
    }
  };
  for (let at = 0; at + 16 <= size; at += 16) transform(at);
  if (size % 16) {
    for (let j = size - 16; j < size; j += 1) values[j] = draw();
    transform(size - 16);
  }
  return values;
};

const enlarge = cubic(-0.75);

// The gray noise that the network's training added, (height, width).
export const noise = (height, width, strength) => {
  const draw = uniform(0);
  const result = new Float32Array(height * width);
  for (const size of [1, 4, 16]) {
    const [rows, columns] = [height, width].map((length) => Math.ceil(length / size) + 1);
    const octave = normal(rows * columns, draw);
    const at = (length, limit) => Array.from({ length }, (_, i) => {
      const center = (i + 0.5) / size - 0.5;
      const first = Math.floor(center) - 1;
      return [0, 1, 2, 3].map((j) => [Math.min(limit - 1, Math.max(0, first + j)), enlarge(center - first - j)]);
    });
    const across = at(width, columns);
    const wide = new Float32Array(rows * width);
    for (let y = 0; y < rows; y += 1) {
      for (let x = 0; x < width; x += 1) for (const [from, weight] of across[x]) wide[y * width + x] += weight * octave[y * columns + from];
    }
    at(height, rows).forEach((down, y) => {
      for (const [from, weight] of down) for (let x = 0; x < width; x += 1) result[y * width + x] += weight * wide[from * width + x];
    });
  }
  return result.map((value) => value * strength / Math.sqrt(3));
};

// Where reflection up to the picture's size, and then the repeated edge, takes a position from.
const reflected = (length, before, after) => Int32Array.from({ length: before + length + after }, (_, index) => {
  const at = index - before;
  if (at < 0) return Math.min(-at, length - 1);
  return at < length ? at : Math.max(0, 2 * (length - 1) - at);
});

// Input of the network: planes, with noise and a border of reflection; sides are multiples of 4.
export const frame = ({ height, width, data }, border, grain) => {
  const down = reflected(height, border, border + ((4 - (height % 4)) % 4));
  const across = reflected(width, border, border + ((4 - (width % 4)) % 4));
  const area = down.length * across.length;
  const planes = new Float32Array(3 * area);
  for (let y = 0, at = 0; y < down.length; y += 1) {
    for (let x = 0; x < across.length; x += 1, at += 1) {
      const from = down[y] * width + across[x];
      const added = grain ? grain[from] : 0;
      for (let c = 0; c < 3; c += 1) planes[c * area + at] = data[from * 3 + c] + added;
    }
  }
  return { height: down.length, width: across.length, planes };
};

// The part of the network's output that is the picture.
export const crop = (planes, framed, border, height, width) => {
  const area = framed.height * framed.width;
  const data = new Float32Array(height * width * 3);
  for (let y = 0, at = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const from = (y + border) * framed.width + x + border;
      for (let c = 0; c < 3; c += 1, at += 1) data[at] = planes[c * area + from];
    }
  }
  return { height, width, data };
};
