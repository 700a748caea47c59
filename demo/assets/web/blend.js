// The pictures lie over the photo; how much they cover it is the browser's affair.
(strength) => { document.getElementById('compare-result').style.setProperty('--strength', strength); }
