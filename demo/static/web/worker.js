// The networks, away from the page's own thread. Messages: {id, task, ...} to {id, ...} or {id, error}.
import { blend, crop, frame, layDetail, noise, paintedSize, reduce } from './pictures.js';

const DETAIL = 0.5;
const KEPT = 3; // networks in memory
let runtime = null;
const sessions = new Map();
let grain = { key: '' };
let last = null; // photo and stylized picture of the last result

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
  return { ort, kind, words: kind === 'webgpu' ? 'WebGPU' : `WebAssembly, ${words}` };
};

const start = async (wanted) => {
  const adapter = wanted.startsWith('wasm') ? null : await navigator.gpu?.requestAdapter().catch(() => null);
  const slow = adapter?.info?.isFallbackAdapter ?? adapter?.isFallbackAdapter;
  if (adapter && (!slow || wanted === 'webgpu')) return load('webgpu', 1);
  const cores = navigator.hardwareConcurrency || 1;
  const threads = self.crossOriginIsolated && wanted !== 'wasm1' ? Math.min(cores <= 4 ? cores : cores / 2, 8) : 1;
  return load('wasm', Math.max(1, Math.floor(threads)));
};

const open = async (style) => {
  if (!sessions.has(style.file)) {
    const options = { executionProviders: [runtime.kind], graphOptimizationLevel: 'all' };
    sessions.set(style.file, await runtime.ort.InferenceSession.create(await bytes(style.file), options));
    const [oldest] = sessions.keys();
    if (sessions.size > KEPT) {
      const session = sessions.get(oldest);
      sessions.delete(oldest);
      await session.release();
    }
  }
  return sessions.get(style.file);
};

const paint = async (style, picture) => {
  const { height, width } = picture;
  const key = `${height} ${width} ${style.noise}`;
  if (style.noise && grain.key !== key) grain = { key, values: noise(height, width, style.noise) };
  const framed = frame(picture, style.border, style.noise ? grain.values : null);
  const session = await open(style);
  const tensor = new runtime.ort.Tensor('float32', framed.planes, [1, 3, framed.height, framed.width]);
  const started = performance.now();
  const { stylized } = await session.run({ pixels: tensor });
  const planes = await stylized.getData();
  const seconds = (performance.now() - started) / 1000;
  stylized.dispose?.();
  return { painted: crop(planes, framed, style.border, height, width), seconds };
};

const pixels = (bitmap) => {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
};

const finished = ({ strength, keepColors }) => {
  const { photo, stylized } = last;
  const canvas = new OffscreenCanvas(photo.width, photo.height);
  const data = blend(photo, stylized, strength, keepColors);
  canvas.getContext('2d').putImageData(new ImageData(data, photo.width, photo.height), 0, 0);
  return canvas;
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
  photo: async ({ bitmap }) => { last = { photo: pixels(bitmap) }; return {}; },
  stylize: async ({ style, brush, strength, keepColors }) => {
    const { photo } = last;
    const size = paintedSize(photo.height, photo.width, style.side, brush);
    const reduced = reduce(photo, size);
    let done;
    try {
      done = await paint(style, reduced);
    } catch (error) {
      if (runtime.kind !== 'webgpu') throw error;
      sessions.clear(); // this GPU cannot; WebAssembly can
      runtime = await start('wasm');
      done = await paint(style, reduced);
    }
    last.stylized = layDetail(done.painted, reduced, photo, DETAIL);
    const bitmap = finished({ strength, keepColors }).transferToImageBitmap();
    return { bitmap, seconds: done.seconds, size, runtime: runtime.words };
  },
  finish: async (settings) => ({ bitmap: finished(settings).transferToImageBitmap() }),
  save: async ({ type, ...settings }) => ({ blob: await finished(settings).convertToBlob({ type, quality: 0.95 }) }),
  live: async ({ style, bitmap }) => {
    const picture = pixels(bitmap);
    const whole = reduce(picture, [picture.height, picture.width]);
    const { painted, seconds } = await paint(style, whole);
    const data = layDetail(painted, whole, picture, 0).data;
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    canvas.getContext('2d').putImageData(new ImageData(data, picture.width, picture.height), 0, 0);
    return { bitmap: canvas.transferToImageBitmap(), seconds };
  },
};

// One task after the other.
let queue = Promise.resolve();
self.onmessage = ({ data: { id, task, ...values } }) => {
  queue = queue.then(async () => {
    try {
      const answer = await tasks[task](values);
      self.postMessage({ id, ...answer }, answer.bitmap ? [answer.bitmap] : []);
    } catch (error) {
      const memory = /memory|allocation|bad_alloc/i.test(error.message);
      self.postMessage({ id, error: memory ? 'There is not enough memory for this size; choose a larger brush.' : error.message });
    }
  });
};
