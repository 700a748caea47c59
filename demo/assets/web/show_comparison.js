() => {
  if (window.innerWidth <= 640) document.getElementById('compare-result').scrollIntoView({ block: 'start' });
}
