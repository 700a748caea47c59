// gr.HTML runs this once; its content is replaced later, so the listener is on the element itself.
let picked = '';
element.addEventListener('change', (event) => {
  if (event.target.name !== 'style') return;
  picked = event.target.value;
  trigger('select', { name: picked });
});
// On a phone the cards are a strip, in which the chosen one may lie out of sight.
watch('value', () => {
  // The cards are written anew when more styles have arrived; what was picked stays picked.
  const again = [...element.querySelectorAll('input')].find((input) => input.value === picked);
  if (again) again.checked = true;
  const card = element.querySelector('input:checked')?.closest('.card');
  if (card) card.parentElement.scrollLeft = card.offsetLeft - card.parentElement.offsetLeft - 12;
});
