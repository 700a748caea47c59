// gr.HTML runs this once. The server names the pictures of a result in the attributes of `.pictures`; the viewer
// beside it is made here and stays, with its handle where the visitor left it.
const HANDLE_AT = 35; // percent of the width that show the photo
const ICON = `<svg viewBox="0 0 24 24" width="20" height="20" fill="none" stroke="currentColor" stroke-width="2"
  stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d="M8 3H5a2 2 0 0 0-2 2v3m18 0V5a2 2 0 0
  0-2-2h-3m0 18h3a2 2 0 0 0 2-2v-3M3 16v3a2 2 0 0 0 2 2h3"/></svg>`;

const viewer = document.createElement('figure');
viewer.className = 'viewer';
viewer.innerHTML = `<div class="ground"><p>Your picture appears here.</p></div><dialog></dialog>`;
element.after(viewer); // what is in the element, Gradio exchanges
const ground = viewer.querySelector('.ground');
const dialog = viewer.querySelector('dialog');

const build = () => {
  ground.innerHTML = `<div class="frame"><img class="before" alt="Your photo" draggable="false">
    <img class="after" alt="" draggable="false"><span class="handle" aria-hidden="true"></span>
    <input type="range" min="0" max="100" step="1" value="${HANDLE_AT}" aria-label="Before and after"></div>
    <button type="button" class="full-screen">${ICON}</button>`;
  const handle = ground.querySelector('input');
  handle.addEventListener('input', () => place(handle));
  place(handle);
  const button = ground.querySelector('.full-screen');
  button.addEventListener('click', () => (dialog.open ? dialog.close() : open()));
  name('Full screen');
};
const place = (handle) => {
  handle.setAttribute('aria-valuetext', `${handle.value} percent photo`);
  viewer.style.setProperty('--at', `${handle.value}%`);
};
const name = (label) => {
  const button = ground.querySelector('.full-screen');
  button.setAttribute('aria-label', label);
  button.title = label;
};

// What is shown changes only when both pictures are there, so that nothing flickers and no two results mix.
let wanted = 0;
const show = async () => {
  const pictures = element.querySelector('.pictures');
  if (!pictures?.dataset.before) return;
  const { before, after, width, height, style, transparent } = pictures.dataset;
  const mine = (wanted += 1);
  const loaded = [before, after].map((source) => Object.assign(new Image(), { src: source }));
  await Promise.allSettled(loaded.map((picture) => picture.decode()));
  if (mine !== wanted) return;
  if (!ground.querySelector('.frame')) build();
  [...ground.querySelectorAll('img')].forEach((picture, index) => { picture.src = loaded[index].src; });
  ground.querySelector('.after').alt = dialog.ariaLabel = `Your photo, painted after ${style}`;
  ground.querySelector('.frame').classList.toggle('transparent', transparent === 'true');
  viewer.style.setProperty('--aspect', width / height);
};
watch('value', show);
show();

// Full screen: the ground moves into a modal dialog, above everything else, and back.
const open = () => {
  dialog.append(ground);
  name('Leave full screen');
  dialog.showModal();
  ground.querySelector('input').focus();
  document.documentElement.requestFullscreen?.().catch(() => {}); // some browsers have the dialog only
};
dialog.addEventListener('close', () => {
  if (document.fullscreenElement) document.exitFullscreen();
  viewer.prepend(ground);
  name('Full screen');
  ground.querySelector('.full-screen').focus();
});
document.addEventListener('fullscreenchange', () => {
  if (!document.fullscreenElement && dialog.open) dialog.close();
});
