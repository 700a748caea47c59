() => {
  if (!document.querySelector('#compare-status .failed')) document.querySelector('#compare-sheet-file')?.click();
}
