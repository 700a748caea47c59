// gr.HTML runs this once; its content is replaced later, so the listener is on the element itself.
element.addEventListener('change', (event) => {
  if (event.target.name === 'style') trigger('select', { name: event.target.value });
});
