// Gradio (6.31) reads what the browser stores; where it stores nothing, the page would never begin.
try {
  window.localStorage.length;
} catch {
  const kept = new Map();
  const getItem = (key) => kept.get(key) ?? null, setItem = (key, value) => { kept.set(key, value); };
  Object.defineProperty(window, 'localStorage', { value: { getItem, setItem, removeItem: (key) => kept.delete(key) } });
}

// The API page asks whether there is an MCP server; where there is none, the answer would be an error in the console.
const ask = window.fetch;
window.fetch = (...request) => {
  const address = String(request[0]?.url ?? request[0]);
  if (address.endsWith('gradio_api/mcp/schema') && !window.gradio_config?.mcp_server) {
    return Promise.resolve(new Response('', { status: 404 }));
  }
  return ask.apply(window, request);
};

// Browsers that do not know HEIC give such a file no type, and Gradio refuses what is no "image/...".
const TYPES = { heic: 'image/heic', heif: 'image/heif', avif: 'image/avif', tif: 'image/tiff', tiff: 'image/tiff' };
const typed = (files) => {
  const types = [...files].map((file) => file.type || TYPES[file.name.split('.').pop().toLowerCase()] || '');
  if ([...files].every((file, index) => file.type === types[index])) return null;
  const transfer = new DataTransfer();
  [...files].forEach((file, index) => transfer.items.add(new File([file], file.name, { type: types[index] })));
  return transfer;
};
// A box that a visitor has given a file is never filled with a sample (first_photo.js).
for (const way of ['change', 'drop', 'paste']) {
  document.addEventListener(way, (event) => {
    if (way !== 'change' || event.target.type === 'file') event.target.closest?.('.block')?.setAttribute('data-chosen', '');
  }, true);
}
document.addEventListener('change', (event) => {
  const transfer = event.target.type === 'file' ? typed(event.target.files) : null;
  if (transfer) event.target.files = transfer.files;
}, true);
// Several photos dropped where one is expected go to "Several photos", in place of those there, to which Gradio (6.31)
// would add them.
const takeSeveral = async (files) => {
  const inside = () => document.querySelector('#batch input[type=file]');
  const accordion = document.querySelector('#batch-more button');
  if (accordion && !accordion.classList.contains('open')) accordion.click();
  const clear = () => document.querySelector('#batch button.icon-button:not(:has(input))');
  for (let wait = 0; (clear() || !inside()) && wait < 50; wait += 1) {
    clear()?.click();
    await new Promise((done) => { setTimeout(done, 100); });
  }
  const input = inside();
  if (!input) return; // an upload is under way
  input.files = files;
  input.dispatchEvent(new Event('change', { bubbles: true }));
  document.getElementById('batch-more').scrollIntoView({ block: 'nearest' });
};
document.addEventListener('drop', (event) => {
  if (event.dataTransfer?.files.length > 1 && event.target.closest?.('#photo')) {
    event.preventDefault();
    event.stopImmediatePropagation();
    takeSeveral((typed(event.dataTransfer.files) ?? event.dataTransfer).files);
    return;
  }
  const transfer = event.dataTransfer ? typed(event.dataTransfer.files) : null;
  if (!transfer) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  event.target.dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: transfer }));
}, true);
// A file that is dropped beside a box changes nothing; the browser would leave the page for it.
for (const way of ['dragover', 'drop']) {
  document.addEventListener(way, (event) => {
    if (event.dataTransfer?.types.includes('Files')) event.preventDefault();
  });
}

// A typed number is brought into its range before Gradio (6.31) sends it, which otherwise asks for the one and shows the
// other. Enter ends the typing.
document.addEventListener('blur', ({ target }) => {
  if (target.type !== 'number' || target.min === '' || target.max === '') return;
  const within = Math.min(Math.max(target.valueAsNumber || 0, +target.min), +target.max);
  if (within === target.valueAsNumber) return;
  target.value = within;
  target.dispatchEvent(new Event('input', { bubbles: true }));
}, true);
document.addEventListener('keydown', ({ key, target }) => {
  if (key === 'Enter' && target.type === 'number') target.blur();
});
// Gradio's sliders (6.31) tell of a release by the pointer only.
document.addEventListener('keyup', ({ key, target }) => {
  if (target.type !== 'range' || !/^(Arrow|Page|Home|End)/.test(key)) return;
  target.dispatchEvent(new PointerEvent('pointerup', { bubbles: true }));
});

// Kinds of file that this browser cannot show get words in the upload box, not a broken picture.
const box = (image) => (image.matches?.('img') ? image.closest('.image-frame')?.closest('.block') : null);
document.addEventListener('error', (event) => {
  box(event.target)?.classList.add('no-preview-here');
}, true);
document.addEventListener('load', (event) => {
  box(event.target)?.classList.remove('no-preview-here');
}, true);

// Gradio (6.31) writes "Error" and "Warning" over every message, whatever title it was given.
const retitle = (root) => {
  for (const title of root.querySelectorAll?.('.toast-title.error, .toast-title.warning') ?? []) {
    for (const text of title.childNodes) {
      if (text.nodeType === Node.TEXT_NODE && /^(Error|Warning)/.test(text.data)) text.data = 'That did not work';
    }
  }
};
// Its own messages, in words for people.
const readable = (kind) => document.querySelector(`#${kind}-limits p`)?.innerText.split(', up to')[0] ?? '';
const reword = (text) => {
  const refused = text.match(/^Invalid file types?: (.*)\. Only (.*) allowed\.$/);
  if (refused) {
    const [what, kind] = refused[2].includes('video') ? ['film', 'film'] : ['picture', 'photo'];
    return `${refused[1]} is not a ${what}. These kinds are read: ${readable(kind)}.`;
  }
  const beyond = text.match(/^Value (\S+) is (greater|less) than (?:maximum|minimum) value (\S+)\.$/);
  if (beyond) return `${beyond[1]} is too ${beyond[2] === 'less' ? 'small' : 'large'}: take ${+beyond[3]} at ${beyond[2] === 'less' ? 'least' : 'most'}.`;
  const large = text.match(/^File\(s\) exceed .* of ([\d.]+) Mb: (.*)$/);
  if (large) return `${large[2].replaceAll('"', '')} is larger than ${Math.round(large[1] / 1.048576)} MB; use a smaller file.`;
  if (text.startsWith('Connection to the server was lost')) return 'The connection is lost. When it is back, this page begins anew.';
  if (text.startsWith('Connection errored out')) return 'There is no connection to the page; try again.';
  if (text === 'Video not playable') return 'This browser cannot show this film. If it is one, it can be painted all the same.';
  return text;
};
const rephrase = () => {
  for (const text of document.querySelectorAll('.toast-message-text')) {
    const said = text.textContent.trim(), better = reword(said);
    if (better !== said) text.textContent = better;
  }
};
// Its upload boxes have a name that is not what is written in them: without it, what is written is their name.
const rename = (root) => {
  for (const box of root.querySelectorAll?.('button.upload-container[aria-label]') ?? []) {
    if (box.innerText.trim()) box.removeAttribute('aria-label');
  }
  for (const empty of root.querySelectorAll?.('div.empty[aria-label]') ?? []) empty.removeAttribute('aria-label');
};
new MutationObserver((changes) => {
  for (const change of changes) {
    for (const node of change.addedNodes) { retitle(node); rename(node.parentElement ?? node); }
  }
  rephrase();
}).observe(document, { childList: true, subtree: true });
