// To the tab Stylize, with the style that was just taught.
() => {
  const { taught } = document.querySelector('#teach-pictures .lesson').dataset;
  [...document.querySelectorAll('#tabs button[role=tab]')].find((tab) => tab.textContent.trim() === 'Stylize').click();
  document.querySelector(`#styles input[value="${taught}"]`)?.click();
}
