// A number that is still being typed may be out of its range.
(photo, size, steps) => {
  const within = (name, value) => {
    const range = document.querySelector(`#gatys-${name} input[type=range]`);
    return Math.min(Math.max(Number(value) || 0, Number(range.min)), Number(range.max));
  };
  return [photo, within('size', size), within('steps', steps)];
}
