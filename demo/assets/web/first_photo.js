// What a tab begins with: its own photo, or else the first tab's, or else a sample; nothing where one is being uploaded.
(own, first, sample) => {
  const chosen = [...document.querySelectorAll('.block[id$=-photo][data-chosen]')].some((box) => box.checkVisibility());
  return own ?? (chosen ? null : first ?? sample);
}
