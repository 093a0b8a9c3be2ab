'use strict';
// Everything is on the page without this script: it adds the search, and nothing else.
{
  const form = document.querySelector('.search');
  const box = document.getElementById('search');
  const found = document.getElementById('found');
  const lists = [...document.querySelectorAll('[data-rows]')].map((list) => ({
    what: list.dataset.rows,
    none: list.closest('section').querySelector('.none'),
    details: list.closest('details'),
    rows: [...list.children],
    texts: null,
  }));
  const number = new Intl.NumberFormat('en');

  const search = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    const counts = new Map();
    for (const list of lists) {
      list.texts ??= list.rows.map((row) => row.textContent.toLowerCase());
      let shown = 0;
      list.rows.forEach((row, index) => {
        const fits = words.every((word) => list.texts[index].includes(word));
        if (row.hidden === fits) row.hidden = !fits;
        if (fits) shown += 1;
      });
      list.none.hidden = shown > 0;
      if (list.details && words.length > 0) list.details.open = true;
      counts.set(list.what, (counts.get(list.what) ?? 0) + shown);
    }
    const parts = [...counts].map(([what, n]) => number.format(n) + ' ' + what + (n === 1 ? '' : 's'));
    found.textContent = words.length > 0 ? parts.join(', ') : '';
  };

  if (lists.length > 0) {
    form.hidden = false;
    form.addEventListener('submit', (event) => event.preventDefault());
    box.addEventListener('input', search);
    document.addEventListener('keydown', (event) => {
      if (event.key === '/' && document.activeElement !== box && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        box.focus();
      } else if (event.key === 'Escape' && document.activeElement === box) {
        box.value = '';
        search();
      }
    });
  }
}
