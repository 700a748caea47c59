// On a phone the comparison lies below the buttons. It gets the room that it takes before there is a page to scroll.
() => {
  if (window.innerWidth > 640) return;
  const result = document.getElementById('compare-result');
  result.style.minHeight = '90vh';
  result.scrollIntoView({ block: 'start' });
}
