// gr.HTML runs this once; its content is replaced later, so the listener is on the element itself.
element.addEventListener('change', (event) => {
  if (event.target.name === 'style') trigger('select', { name: event.target.value });
});
// On a phone the cards are a strip, in which the chosen one may lie out of sight.
watch('value', () => {
  const card = element.querySelector('input:checked')?.closest('.card');
  if (card) card.parentElement.scrollLeft = card.offsetLeft - card.parentElement.offsetLeft - 12;
});
