// A row of buttons: the one that is pressed is told by its name.
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-name]');
  if (button) trigger('select', { name: button.dataset.name });
});
