/**
 * @file The page's script: a button that copies the command, and tooltips for everything with a value, by mouse, touch and
 * keyboard. Without the script, the browser's own tooltips remain. The Tab key stops once at each chart and completion; the
 * arrow keys move within it.
 */
export const script = `
(() => {
  const tip = document.createElement('div');
  tip.id = 'tip';
  tip.setAttribute('role', 'status');
  tip.hidden = true;
  document.body.append(tip);
  let current = null;

  function show(mark) {
    hide();
    current = mark;
    mark.classList.add('on');
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    put(mark.getBoundingClientRect());
  }
  function put(place) {
    const size = tip.getBoundingClientRect();
    const room = document.documentElement.clientWidth - size.width - 8;
    const left = Math.max(8, Math.min(room, place.left + place.width / 2 - size.width / 2));
    const above = place.top - size.height - 8;
    tip.style.left = left + 'px';
    tip.style.top = (above >= 8 ? above : Math.min(place.bottom + 8, innerHeight - size.height - 8)) + 'px';
  }
  function hide() {
    if (current) current.classList.remove('on');
    current = null;
    tip.hidden = true;
  }

  // Remove the <title> elements, which the browser would show as second tooltips.
  for (const title of document.querySelectorAll('svg title')) {
    title.parentNode.dataset.tip = title.textContent;
    title.remove();
  }
  for (const box of document.querySelectorAll('svg.plot, .completion')) {
    const marks = [...box.querySelectorAll('[data-tip]')];
    if (marks.length === 0) continue;
    box.setAttribute('tabindex', '0');
    let at = -1;
    const move = (to) => {
      at = Math.max(0, Math.min(marks.length - 1, to));
      show(marks[at]);
    };
    // Up and down: the next mark in the same column of a heat map; elsewhere the next mark.
    const beside = (by) => {
      const left = (mark) => mark.getBoundingClientRect().left;
      for (let i = at + by; marks[i]; i += by) if (Math.abs(left(marks[i]) - left(marks[at])) < 2) return i;
      return at + by;
    };
    box.addEventListener('focus', () => {
      if (box.matches(':focus-visible')) move(at);
    });
    box.addEventListener('blur', hide);
    box.addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const row = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step || (row && at < 0)) move(at + (step ?? 1));
      else if (row) move(beside(row));
      else if (event.key === 'Home') move(0);
      else if (event.key === 'End') move(marks.length - 1);
      else if (event.key === 'Escape') hide();
      else return;
      event.preventDefault();
    });
    box.addEventListener('pointerover', (event) => {
      const mark = event.target.closest('[data-tip]');
      if (!mark) return;
      at = marks.indexOf(mark);
      show(mark);
    });
    box.addEventListener('pointerleave', (event) => {
      if (event.pointerType === 'mouse') hide();
    });
  }
  document.addEventListener('scroll', () => {
    const place = current && current.getBoundingClientRect();
    if (place && place.bottom > 0 && place.top < innerHeight) put(place);
    else hide();
  }, { passive: true });
  document.addEventListener('pointerdown', (event) => {
    if (!event.target.closest('[data-tip]')) hide();
  });
  for (const button of document.querySelectorAll('button[data-source]')) {
    button.hidden = false;
    button.addEventListener('click', async () => {
      const source = document.getElementById(button.dataset.source);
      try {
        await navigator.clipboard.writeText(source.textContent);
      } catch {
        getSelection().selectAllChildren(source);
        document.execCommand('copy');
      }
      button.textContent = 'Copied';
      setTimeout(() => { button.textContent = 'Copy'; }, 2000);
    });
  }
  addEventListener('beforeprint', () => {
    for (const details of document.querySelectorAll('#examples details')) details.open = true;
  });
})();
`;
