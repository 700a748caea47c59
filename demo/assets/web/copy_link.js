// A link to the style and settings that are chosen now; the photo is no part of it.
async (strength, brush, keepColors, size, version, mix, share) => {
  const query = new URLSearchParams({ style: document.querySelector('input[name=style]:checked')?.value ?? '' });
  query.set('strength', strength);
  query.set('brush', brush);
  query.set('size', size);
  if (keepColors) query.set('colors', 'photo');
  if (mix) {
    query.set('mix', mix);
    query.set('share', share);
  }
  if (version !== 'champion') query.set('version', version);
  const link = `${window.location.origin}${window.location.pathname}?${query}`;
  try {
    await navigator.clipboard.writeText(link);
  } catch { // no permission, or a page without https
    if (window.prompt('The link to this style and these settings:', link) === null) return 'Copy link';
  }
  return 'Link copied';
}
