/**
 * @file The page's script: a button that copies the command, and tooltips for everything with a value, by mouse, touch and
 * keyboard. Without the script, the browser's own tooltips remain. The Tab key stops once at each chart and completion; the
 * arrow keys move within it. Listeners are attached to the document, so they also cover content that is added later.
 */

/**
 * Defines `prepare(root)` for new content, and `refreshTip()`, which is called after content has changed. live/page.ts calls
 * both.
 */
export const tooltips = `
  const tip = document.createElement('div');
  tip.id = 'tip';
  tip.setAttribute('role', 'status');
  tip.hidden = true;
  document.body.append(tip);
  let current = null;
  const boxes = 'svg.plot, .completion';
  const marksOf = (box) => [...box.querySelectorAll('[data-tip]')];
  /** The mark of a box that was shown last, by its place. */
  const places = new WeakMap();

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
  function refreshTip() {
    if (!current) return;
    if (current.isConnected && current.dataset.tip) show(current);
    else hide();
  }

  function prepare(root) {
    // Remove the <title> elements, which the browser would show as second tooltips.
    for (const title of root.querySelectorAll('svg title')) {
      title.parentNode.dataset.tip = title.textContent;
      title.remove();
    }
    for (const box of root.querySelectorAll(boxes)) if (marksOf(box).length > 0) box.setAttribute('tabindex', '0');
    for (const button of root.querySelectorAll('button[data-source]')) button.hidden = false;
  }

  function move(box, to) {
    const marks = marksOf(box);
    if (marks.length === 0) return;
    const at = Math.max(0, Math.min(marks.length - 1, to));
    places.set(box, at);
    show(marks[at]);
  }
  // Up and down: the next mark in the same column of a heat map; elsewhere the next mark.
  function beside(box, at, by) {
    const marks = marksOf(box);
    const left = (mark) => mark.getBoundingClientRect().left;
    for (let i = at + by; marks[i]; i += by) if (Math.abs(left(marks[i]) - left(marks[at])) < 2) return i;
    return at + by;
  }
  document.addEventListener('focusin', ({ target }) => {
    if (target.matches(boxes) && target.matches(':focus-visible')) move(target, places.get(target) ?? -1);
  });
  document.addEventListener('focusout', ({ target }) => {
    if (target.matches(boxes)) hide();
  });
  document.addEventListener('keydown', (event) => {
    const box = event.target;
    if (!box.matches?.(boxes)) return;
    const at = places.get(box) ?? -1;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const row = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step || (row && at < 0)) move(box, at + (step ?? 1));
    else if (row) move(box, beside(box, at, row));
    else if (event.key === 'Home') move(box, 0);
    else if (event.key === 'End') move(box, Infinity);
    else if (event.key === 'Escape') hide();
    else return;
    event.preventDefault();
  });
  document.addEventListener('pointerover', ({ target }) => {
    const mark = target.closest('[data-tip]');
    const box = mark?.closest(boxes);
    if (!box) return;
    places.set(box, marksOf(box).indexOf(mark));
    show(mark);
  });
  document.addEventListener('pointerout', ({ target, relatedTarget, pointerType }) => {
    const box = target.closest(boxes);
    if (box && pointerType === 'mouse' && !box.contains(relatedTarget)) hide();
  });
  document.addEventListener('scroll', () => {
    const place = current && current.getBoundingClientRect();
    if (place && place.bottom > 0 && place.top < innerHeight) put(place);
    else hide();
  }, { passive: true });
  document.addEventListener('pointerdown', (event) => {
    if (!event.target.closest('[data-tip]')) hide();
  });
  document.addEventListener('click', async ({ target }) => {
    const button = target.closest('button[data-source]');
    if (!button) return;
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
  addEventListener('beforeprint', () => {
    for (const details of document.querySelectorAll('#examples details')) details.open = true;
  });
  prepare(document);
`;

export const script = `
(() => {${tooltips}})();
`;
