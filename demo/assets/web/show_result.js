// On a phone the result lies below the cards.
() => {
  if (window.innerWidth <= 640) document.getElementById('result').scrollIntoView({ block: 'center' });
}
