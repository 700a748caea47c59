const dialog = document.createElement('dialog');
dialog.setAttribute('aria-label', 'The pictures, large');
dialog.innerHTML = `<div class="layers"></div><div class="bar">
  <button type="button" data-step="-1" aria-label="The one before">&larr;</button><p aria-live="polite"></p>
  <button type="button" data-step="1" aria-label="The next one">&rarr;</button>
  <button type="button" class="close">Close</button></div>`;
element.after(dialog); // what is in the element, Gradio exchanges with every picture
const figures = () => [...element.querySelectorAll('figure[data-label]')];
let shown = 0;
const show = (index) => {
  const all = figures();
  shown = (index + all.length) % all.length;
  const figure = all[shown];
  dialog.querySelector('.layers').innerHTML = figure.querySelector('.layers').innerHTML;
  const { naturalWidth, naturalHeight } = figure.querySelector('img');
  dialog.style.setProperty('--aspect', naturalWidth / naturalHeight);
  dialog.querySelector('p').textContent = `${shown + 1} of ${all.length}: ${figure.dataset.label}`;
};
element.addEventListener('click', (event) => {
  const large = event.target.closest('button.large');
  if (large) { show(figures().indexOf(large.closest('figure'))); dialog.showModal(); }
});
dialog.addEventListener('click', (event) => {
  const step = event.target.closest('button[data-step]');
  if (step) show(shown + Number(step.dataset.step));
  if (event.target.closest('button.close') || event.target === dialog) dialog.close();
});
dialog.addEventListener('keydown', (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) { show(shown + step); event.preventDefault(); }
});
