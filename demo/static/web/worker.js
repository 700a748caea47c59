// The networks, away from the page's own thread. Messages: {id, task, ...} to {id, ...} or {id, error}.
import { paintFilm } from './film.js';
import { blend, crop, frame, layDetail, noise, overWhite, paintedSize, reduce, withoutWhite } from './pictures.js';
import { inTiles, paintTiles, samples } from './tiles.js';

const DETAIL = 0.5;
const KEPT = 3; // networks in memory
const SHOWN = 2048; // the longest side of a picture on the page, in pixels
let runtime = null;
let started = null; // the start, which all else waits for
const sessions = new Map();
let grain = { key: '' };
let last = null; // photo, stylized picture and style of the last result

const bytes = async (file) => {
  const answer = await fetch(file);
  if (!answer.ok) throw new Error(`${file} is not on this server; deploy the page again.`);
  return answer.arrayBuffer();
};

// The binary is stored compressed, because many servers do not compress; some hand it over unpacked.
const unpacked = async (file) => {
  const content = await bytes(file);
  const [a, b] = new Uint8Array(content);
  if (a !== 0x1f || b !== 0x8b) return content;
  return new Response(new Blob([content]).stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
};

const load = async (kind, threads) => {
  const ort = await import(`./ort/ort.${kind}.min.mjs`);
  const name = kind === 'webgpu' ? 'ort-wasm-simd-threaded.asyncify' : 'ort-wasm-simd-threaded';
  ort.env.wasm.wasmPaths = { mjs: new URL(`./ort/${name}.mjs`, import.meta.url).href };
  ort.env.wasm.wasmBinary = await unpacked(`./ort/${name}.wasm.gz`);
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = 'error';
  const words = threads === 1 ? 'one thread' : `${threads} threads`;
  const files = [`ort/ort.${kind}.min.mjs`, `ort/${name}.mjs`, `ort/${name}.wasm.gz`];
  return { ort, kind, files, words: kind === 'webgpu' ? 'WebGPU' : `WebAssembly, ${words}` };
};

const start = async (wanted) => {
  const adapter = wanted.startsWith('wasm') ? null : await navigator.gpu?.requestAdapter().catch(() => null);
  const slow = adapter?.info?.isFallbackAdapter ?? adapter?.isFallbackAdapter;
  if (adapter && (!slow || wanted === 'webgpu')) return load('webgpu', 1);
  const cores = navigator.hardwareConcurrency || 1;
  const threads = self.crossOriginIsolated && wanted !== 'wasm1' ? Math.min(cores <= 4 ? cores : cores / 2, 8) : 1;
  return load('wasm', Math.max(1, Math.floor(threads)));
};

const open = async (file) => {
  if (!sessions.has(file)) {
    const options = { executionProviders: [runtime.kind], graphOptimizationLevel: 'all' };
    sessions.set(file, await runtime.ort.InferenceSession.create(await bytes(file), options));
    const [oldest] = sessions.keys();
    if (sessions.size > KEPT) {
      const session = sessions.get(oldest);
      sessions.delete(oldest);
      await session.release();
    }
  }
  return sessions.get(file);
};

// Network of a file; planes of all pictures (N, 3, height, width) to one of its outputs.
const runNow = async (file, { planes, height, width }, more = {}, wanted = 'stylized') => {
  const session = await open(file);
  const tensor = new runtime.ort.Tensor('float32', planes, [planes.length / (3 * height * width), 3, height, width]);
  const answer = await session.run({ pixels: tensor, ...more }, [wanted]);
  const values = await answer[wanted].getData();
  answer[wanted].dispose?.();
  return values;
};

// One after the other.
let turn = Promise.resolve();
const run = (...what) => {
  const answer = turn.then(() => runNow(...what));
  turn = answer.catch(() => {});
  return answer;
};

// Statistics of the whole picture, measured on samples, as inputs for its tiles.
const measured = async (style, picture) => {
  if (!style.tiles) return {}; // they are fixed
  const { Tensor } = runtime.ort;
  const shape = [2, style.channels, 1, 1];
  const inputs = (held, values) => ({ held: new Tensor('bool', [held], []), statistics: new Tensor('float32', values, shape) });
  const squares = samples(picture).map((square) => frame(square, 0, null));
  const [{ height, width, planes }] = squares;
  const all = new Float32Array(squares.length * planes.length);
  squares.forEach((square, index) => all.set(square.planes, index * planes.length));
  const nothing = inputs(false, new Float32Array(2 * style.channels));
  return inputs(true, await run(style.tiles, { planes: all, height, width }, nothing, 'measured'));
};

const paint = async (style, picture, step) => {
  const { height, width } = picture;
  const key = `${height} ${width} ${style.noise}`;
  if (style.noise && grain.key !== key) grain = { key, values: noise(height, width, style.noise) };
  const added = style.noise ? grain.values : null;
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  if (!inTiles(picture)) {
    const framed = frame(picture, style.border, added);
    const planes = await run(style.file, framed);
    const made = { height: framed.height - 2 * style.cropped, width: framed.width - 2 * style.cropped };
    return { painted: crop(planes, made, style.border - style.cropped, height, width), seconds: seconds() };
  }
  const noisy = added ? { height, width, data: picture.data.map((value, i) => value + added[Math.floor(i / 3)]) } : picture;
  const statistics = await measured(style, noisy);
  const paintTile = async (tile) => {
    const framed = frame(tile, style.border, null);
    return crop(await run(style.tiles ?? style.file, framed, statistics), framed, style.border, tile.height, tile.width);
  };
  const painted = await paintTiles(noisy, style.radius, paintTile, step);
  return { painted, seconds: seconds() };
};

const drawn = (bitmap) => {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext('2d', { willReadFrequently: true }).drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas;
};
const pixels = (canvas) => overWhite(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height));

// To show: a bitmap, reduced where it is larger than any screen.
const shown = async (canvas) => {
  const scale = Math.min(1, SHOWN / Math.max(canvas.width, canvas.height));
  if (scale === 1) return canvas.transferToImageBitmap();
  const [resizeWidth, resizeHeight] = [canvas.width, canvas.height].map((length) => Math.max(1, Math.round(length * scale)));
  return createImageBitmap(canvas, { resizeWidth, resizeHeight, resizeQuality: 'medium' });
};

const finished = ({ strength, keepColors }, { photo, stylized } = last) => {
  const canvas = new OffscreenCanvas(photo.width, photo.height);
  const data = withoutWhite(blend(photo, stylized, strength, keepColors));
  canvas.getContext('2d').putImageData(new ImageData(data, photo.width, photo.height), 0, 0);
  return canvas;
};

const encoded = (canvas, type) => {
  const context = canvas.getContext('2d');
  if (type === 'image/jpeg') { // which has no transparency
    context.globalCompositeOperation = 'destination-over';
    context.fillStyle = 'white';
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  return canvas.convertToBlob({ type, quality: 0.95 });
};

const tasks = {
  start: async ({ wanted }) => {
    try {
      runtime = await start(wanted);
    } catch (error) {
      if (wanted !== 'auto') throw error;
      runtime = await start('wasm');
    }
    return { runtime: runtime.words };
  },
  photo: async ({ bitmap }) => {
    const canvas = drawn(bitmap);
    last = { photo: pixels(canvas) };
    return { bitmap: await shown(canvas) };
  },
  stylize: async ({ style, brush, ...settings }, step) => {
    const current = last; // another photo may come meanwhile
    const { photo } = current;
    const size = paintedSize(photo.height, photo.width, style.side, brush);
    const reduced = reduce(photo, size);
    let done;
    try {
      done = await paint(style, reduced, step);
    } catch (error) {
      if (runtime.kind !== 'webgpu') throw error;
      sessions.clear(); // this GPU cannot; WebAssembly can
      runtime = await start('wasm');
      done = await paint(style, reduced, step);
    }
    Object.assign(current, { stylized: layDetail(done.painted, reduced, photo, DETAIL), style: style.name });
    const { height, width } = photo;
    return { bitmap: await shown(finished(settings, current)), height, width, seconds: done.seconds, size, runtime: runtime.words, files: runtime.files };
  },
  finish: async (settings) => ({ bitmap: await shown(finished(settings)) }),
  save: async ({ type, ...settings }) => {
    const { style } = last; // another one may paint meanwhile
    return { blob: await encoded(finished(settings), type), style };
  },
  live: async ({ style, bitmap }) => {
    const picture = pixels(drawn(bitmap));
    const whole = reduce(picture, [picture.height, picture.width]);
    const { painted, seconds } = await paint(style, whole);
    return { bitmap: finished({ strength: 1 }, { photo: picture, stylized: layDetail(painted, whole, picture, 0) }).transferToImageBitmap(), seconds };
  },
  film: async ({ file, style, brush, ...settings }, step) => {
    const paintFrame = async (canvas) => {
      const photo = pixels(canvas);
      const reduced = reduce(photo, paintedSize(photo.height, photo.width, style.side, brush));
      const { painted } = await paint(style, reduced);
      return finished(settings, { photo, stylized: layDetail(painted, reduced, photo, DETAIL) });
    };
    return paintFilm(file, paintFrame, step);
  },
};

// While a film is painted, pictures are painted between its frames.
const unwanted = new Set();
self.onmessage = async ({ data: { id, task, ...values } }) => {
  if (task === 'stop') { unwanted.add(id); return; }
  const step = async (share) => {
    self.postMessage({ id, share });
    await new Promise((next) => { setTimeout(next); }); // lets messages in
    if (unwanted.delete(id)) throw new DOMException('Stopped.', 'AbortError');
  };
  try {
    if (task === 'start') started = tasks.start(values);
    const ready = await started;
    const answer = task === 'start' ? ready : await tasks[task](values, step);
    self.postMessage({ id, ...answer }, answer.bitmap ? [answer.bitmap] : []);
  } catch (error) {
    const memory = /memory|allocation|bad_alloc/i.test(error.message);
    self.postMessage({ id, name: error.name, error: memory ? 'There is not enough memory for this size; choose a larger brush.' : error.message });
  }
};
