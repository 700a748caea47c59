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
new MutationObserver((changes) => {
  for (const change of changes) for (const node of change.addedNodes) retitle(node);
}).observe(document, { childList: true, subtree: true });
