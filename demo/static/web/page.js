// The page: choosing, showing, saving. The worker computes.
const PHOTO_PIXELS = 50e6;
const LIVE_SIDE = 320;
const element = (id) => document.getElementById(id);
const say = (text, failed = false) => {
  element('status').textContent = text;
  element('status').classList.toggle('failed', failed);
};
const tell = (title, facts, note) => {
  say('');
  const line = [Object.assign(document.createElement('strong'), { textContent: title }), ` · ${facts}`];
  element('status').append(...line, ...(note ? [document.createElement('br'), note] : []));
};
const sentence = ({ name, message }) => (name === 'AbortError' ? message : `That did not work. ${message}`);
const fail = (error) => say(sentence(error), true);

// Threads need a page that is isolated: where the host does not say so, the service worker does, after one reload.
const prepare = async () => {
  if (!navigator.serviceWorker) return;
  await navigator.serviceWorker.register('sw.js').catch(() => {});
  if (window.crossOriginIsolated) return;
  try {
    if (sessionStorage.getItem('reloaded')) return;
  } catch { return; } // a browser that stores nothing would reload for ever
  const ready = await Promise.race([navigator.serviceWorker.ready, new Promise((done) => { setTimeout(done, 5000); })]);
  if (!ready) return;
  sessionStorage.setItem('reloaded', 'yes');
  window.location.reload();
  await new Promise(() => {});
};

const worker = { waiting: new Map(), next: 0 };
const ask = (task, values = {}, transfer = [], progress = () => {}) => {
  worker.next += 1;
  const id = worker.next;
  const answer = new Promise((resolve, reject) => { worker.waiting.set(id, { resolve, reject, progress }); });
  worker.thread.postMessage({ id, task, ...values }, transfer);
  return Object.assign(answer, { stop: () => worker.thread.postMessage({ id, task: 'stop' }) });
};
const hire = () => {
  worker.thread = new Worker('worker.js', { type: 'module' });
  worker.thread.onmessage = ({ data }) => {
    const { resolve, reject, progress } = worker.waiting.get(data.id);
    if (data.share !== undefined) { progress(data.share); return; }
    worker.waiting.delete(data.id);
    if (data.error) reject(Object.assign(new Error(data.error), { name: data.name })); else resolve(data);
  };
  worker.thread.onerror = () => fail(new Error('This browser cannot run the networks; use a newer one.'));
};

let styles = [];
let samples = [];
let photo = null; // {name, sample}; null while the worker is given another
let painted = false; // whether there is a painting of it
let given = false; // whether there was one, or is one on its way
const style = () => styles.find((each) => each.name === document.querySelector('input[name=style]:checked')?.value) ?? styles[0];
const settings = () => ({ strength: Number(element('strength').value), keepColors: element('keep-colors').checked });

const frame = document.querySelector('.frame');
const draw = (canvas, bitmap) => {
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext('2d').drawImage(bitmap, 0, 0);
  bitmap.close();
};

// What is asked while something is computed replaces what waits.
let busy = null;
let wanted = null;
const request = (what) => {
  wanted = wanted === 'stylize' ? wanted : what;
  if (!busy) work(); else if (wanted === 'stylize') busy.stop?.();
};
const work = async () => {
  busy = {};
  while (wanted && photo) {
    const [task, of] = [painted ? wanted : 'stylize', photo];
    wanted = null;
    const chosen = style();
    try {
      if (task === 'stylize') say(`Painting: ${chosen.title}.`);
      const brush = Number(element('brush').value);
      busy = ask(task, { style: chosen, brush, ...settings() }, [], (share) => say(`Painting: ${chosen.title}, ${Math.round(share * 100)} %.`));
      const answer = await busy;
      if (photo !== of) { answer.bitmap.close(); continue; }
      const { width, height } = answer;
      painted = true;
      draw(element('after'), answer.bitmap);
      frame.classList.remove('unpainted');
      element('after').setAttribute('aria-label', `Your photo, painted after ${chosen.title}`);
      if (answer.size) {
        const [high, wide] = answer.size;
        const where = wide === width && high === height ? '' : ` · painted at ${wide} × ${high}`;
        const note = photo.sample ? 'This is a sample photo. Drop your own to paint it.' : '';
        tell(chosen.title, `${width} × ${height} pixels${where} · ${answer.seconds.toFixed(1)} s`, note);
        element('runtime').textContent = `Computed in this browser by ${answer.runtime}.`;
      }
      element('png').disabled = element('jpeg').disabled = false;
      keep(answer.files);
    } catch (error) {
      painted = false;
      if (wanted) continue;
      element('png').disabled = element('jpeg').disabled = true;
      fail(error);
    }
  }
  busy = null;
};

let taken = 0;
const take = async (file, name, sample = false) => {
  let bitmap;
  given = true;
  taken += 1;
  const turn = taken; // of several photos in short succession the last one counts, not the one decoded last
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: 'from-image' });
  } catch {
    say(`That did not work. ${name} is not a picture that this browser can read, or it is too large; choose a JPEG, PNG or WebP.`, true);
    return;
  }
  if (turn !== taken) { bitmap.close(); return; }
  const { width, height } = bitmap;
  if (width * height > PHOTO_PIXELS) {
    bitmap.close();
    say(`That did not work. ${name} has ${width} × ${height} pixels, more than 50 megapixels; use a smaller picture.`, true);
    return;
  }
  const earlier = photo;
  photo = null;
  painted = false;
  element('png').disabled = element('jpeg').disabled = true;
  try {
    const answer = await ask('photo', { bitmap }, [bitmap]);
    draw(element('before'), answer.bitmap);
  } catch (error) {
    photo ??= earlier;
    throw error;
  }
  frame.classList.add('unpainted');
  element('viewer').style.setProperty('--aspect', width / height);
  document.querySelector('.ground > p').hidden = true;
  frame.hidden = false;
  photo = { name: name.replace(/\.[^.]*$/, ''), sample };
  request('stylize');
};

const fileName = (name, styleName, suffix) => `${name.replace(/[^A-Za-z0-9_]+/g, '-').slice(0, 60) || 'picture'}-${styleName}.${suffix}`;
const save = async (type, suffix) => {
  const { name } = photo; // another one may come meanwhile
  try {
    const answer = await ask('save', { type, ...settings() });
    const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(answer.blob), download: fileName(name, answer.style, suffix) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  } catch (error) { fail(error); }
};

// All files are kept after the first picture, so that the page works without a network: also those that came before
// the service worker was there.
let kept = false;
const keep = async (runtime) => {
  if (kept || !runtime || !navigator.serviceWorker) return;
  kept = true;
  navigator.serviceWorker.onmessage = ({ data }) => {
    kept = data.kept; // else the next picture tries again
    element('offline').textContent = kept ? 'Ready to work without a network.' : '';
  };
  const { active } = await navigator.serviceWorker.ready;
  const pictures = styles.flatMap((each) => [each.file, each.tiles, each.preview, each.painting]).filter(Boolean);
  active.postMessage({ keep: [...runtime, 'media/mediabunny.min.mjs', ...samples.map((sample) => sample.file), ...pictures] });
};

const CAMERA_TROUBLES = {
  NotAllowedError: 'The browser does not allow the webcam; allow it for this page.',
  NotFoundError: 'There is no webcam on this device.',
  NotReadableError: 'Another program uses the webcam; close it first.',
};
const camera = { video: null, asked: null };
const stop = () => {
  camera.video?.srcObject.getTracks().forEach((track) => track.stop());
  camera.video = null;
  camera.asked = null;
  element('camera').textContent = 'Start the webcam';
};
const live = async () => {
  if (camera.video) { stop(); return; }
  if (camera.asked) return; // a second webcam would stay on
  const mine = {};
  camera.asked = mine;
  let video = null;
  const over = () => (video ? camera.video !== video : camera.asked !== mine);
  const status = element('live-status');
  try {
    if (!navigator.mediaDevices) throw new Error('Browsers give the webcam only to pages with https; open this one with https.');
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 } } });
    if (over()) { // it was closed while the browser asked for leave
      stream.getTracks().forEach((track) => track.stop());
      return;
    }
    camera.asked = null;
    video = Object.assign(document.createElement('video'), { srcObject: stream, muted: true, playsInline: true });
    camera.video = video;
    element('camera').textContent = 'Stop the webcam';
    await video.play();
    element('live').hidden = false;
    let since = performance.now();
    while (!over()) {
      const scale = Math.min(1, LIVE_SIDE / Math.max(video.videoWidth, video.videoHeight));
      const bitmap = await createImageBitmap(video, { resizeWidth: Math.round(video.videoWidth * scale), resizeHeight: Math.round(video.videoHeight * scale) });
      const answer = await ask('live', { style: style(), bitmap }, [bitmap]);
      if (over()) return;
      const { width, height } = answer.bitmap;
      draw(element('live'), answer.bitmap);
      const now = performance.now();
      status.textContent = `${style().title} · ${width} × ${height} pixels · ${(1000 / (now - since)).toFixed(1)} frames a second`;
      since = now;
    }
  } catch (error) {
    if (over()) return; // what was stopped says nothing over what came after
    stop();
    status.textContent = `That did not work. ${CAMERA_TROUBLES[error.name] ?? error.message}`;
  }
};

let film = null;
const filmed = async (file) => {
  const chosen = style();
  const status = element('film-status');
  const started = performance.now();
  status.textContent = 'Reading the film.';
  element('film-stop').hidden = false;
  element('film-result').hidden = true;
  element('film-shown').pause();
  film?.stop();
  film = ask('film', { file, style: chosen, brush: Number(element('brush').value), ...settings() }, [], (share) => {
    const left = Math.round(((performance.now() - started) / 1000) * (1 / Math.max(share, 1e-6) - 1));
    status.textContent = `Painting: ${chosen.title}, ${Math.round(share * 100)} %, ${left < 100 ? `${left} s` : `${Math.round(left / 60)} min`} left.`;
  });
  const mine = film;
  try {
    const { blob, width, height, silent } = await mine;
    URL.revokeObjectURL(element('film-shown').src);
    const address = URL.createObjectURL(blob);
    element('film-shown').src = address;
    Object.assign(element('film-save'), { href: address, download: fileName(file.name.replace(/\.[^.]*$/, ''), chosen.name, 'mp4') });
    element('film-result').hidden = false;
    const sound = silent ? ' · without its sound, which this browser cannot write' : '';
    status.textContent = `${chosen.title} · ${width} × ${height} pixels${sound}`;
  } catch (error) {
    if (film === mine) status.textContent = sentence(error);
  }
  if (film === mine) element('film-stop').hidden = true;
};

const picture = (source, kind, alt) => Object.assign(new Image(), { src: source, className: kind, alt, draggable: false });
const card = (each, index) => {
  const label = Object.assign(document.createElement('label'), { className: 'card' });
  const radio = Object.assign(document.createElement('input'), { type: 'radio', name: 'style', value: each.name, checked: index === 0 });
  const pictures = Object.assign(document.createElement('span'), { className: 'pictures' });
  if (each.preview) pictures.append(picture(each.preview, 'preview', ''));
  if (each.painting) pictures.append(picture(each.painting, 'painting', `The painting: ${each.title}`));
  const words = ['title', 'artist'].map((kind) => Object.assign(document.createElement('span'), { className: kind, textContent: each[kind] }));
  label.append(radio, pictures, ...words);
  return label;
};

const takeSample = async ({ file, name }) => take(await (await fetch(file)).blob(), name, true);

// The file of a box, which is emptied: else the same file, chosen again, would be no change.
const fileOf = (box) => {
  const [file] = box.files;
  box.value = '';
  return file;
};

// A file that is dropped beside the boxes would make the browser leave the page.
const takeDrops = (started) => {
  const drop = element('drop');
  document.ondragover = (event) => { event.preventDefault(); drop.classList.add('over'); };
  document.ondragleave = ({ relatedTarget }) => { if (!relatedTarget) drop.classList.remove('over'); };
  document.ondrop = async (event) => {
    event.preventDefault();
    drop.classList.remove('over');
    const [file] = event.dataTransfer.files;
    await started;
    if (!file) return;
    if (!file.type.startsWith('video/')) { take(file, file.name).catch(fail); return; }
    element('film-more').open = true;
    element('film-status').scrollIntoView({ block: 'nearest' });
    filmed(file);
  };
};

const main = async () => {
  let begin;
  takeDrops(new Promise((done) => { begin = done; }));
  for (const id of ['strength', 'brush']) {
    element(id).oninput = () => { document.querySelector(`output[for=${id}]`).value = element(id).value; };
  }
  const place = () => element('viewer').style.setProperty('--at', `${element('at').value}%`);
  element('at').oninput = place;
  place();
  await prepare();
  ({ styles, samples } = await (await fetch('styles.json')).json());
  element('cards').append(...styles.map(card));
  for (const sample of samples) {
    const button = Object.assign(document.createElement('button'), { type: 'button', title: sample.name });
    button.setAttribute('aria-label', `Sample photo: ${sample.name}`);
    button.append(picture(sample.file, '', ''));
    button.onclick = () => takeSample(sample).catch(fail);
    element('samples').hidden = false;
    element('samples').querySelector('div').append(button);
  }
  hire();
  begin();
  element('photo').onchange = ({ target }) => {
    const file = fileOf(target);
    if (file) take(file, file.name).catch(fail);
  };
  element('cards').onchange = () => request('stylize');
  element('brush').onchange = () => request('stylize');
  element('strength').onchange = element('keep-colors').onchange = () => request('finish');
  element('png').onclick = () => save('image/png', 'png');
  element('jpeg').onclick = () => save('image/jpeg', 'jpg');
  element('camera').onclick = live;
  element('live-more').ontoggle = ({ target }) => { if (!target.open) stop(); };
  element('film').onchange = ({ target }) => {
    const file = fileOf(target);
    if (file) filmed(file);
  };
  element('film-stop').onclick = () => film.stop();
  const { runtime } = await ask('start', { wanted: new URLSearchParams(window.location.search).get('runtime') ?? 'auto' });
  element('runtime').textContent = `Computed in this browser by ${runtime}.`;
  const [sample] = samples;
  const first = sample && await (await fetch(sample.file)).blob();
  if (given) return; // the visitor did not wait for it
  if (first) await take(first, sample.name, true);
  else say('Choose a photo.');
};
main().catch(fail);
