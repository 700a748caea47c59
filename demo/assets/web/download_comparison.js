() => document.querySelector('#compare-sheet-file')?.click()
