/**
 * @file The script of the live page: applies the changes that the server sends. Only what differs is changed, so that focus, open details, scroll positions and tooltips survive an update.
 */
import { tooltips } from '../script.js';

const updates = `
  const main = document.getElementById('main');
  const nav = document.querySelector('nav ul');
  const said = document.getElementById('said');
  const notice = document.getElementById('notice');
  const pause = document.getElementById('pause');
  let version = Number(said.dataset.version);
  let paused = false;
  let waiting = null;

  /** Makes the element from like to. */
  function match(from, to) {
    if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) return from.replaceWith(to);
    if (from.nodeType !== Node.ELEMENT_NODE) {
      if (from.data !== to.data) from.data = to.data;
      return;
    }
    for (const { name } of [...from.attributes]) {
      if (!to.hasAttribute(name) && !(name === 'open' && from.nodeName === 'DETAILS')) from.removeAttribute(name);
    }
    for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    const news = [...to.childNodes];
    const olds = [...from.childNodes];
    news.forEach((node, i) => (olds[i] ? match(olds[i], node) : from.append(node)));
    for (const node of olds.slice(news.length)) node.remove();
  }
  function parsed(markup) {
    const template = document.createElement('template');
    template.innerHTML = markup;
    prepare(template.content);
    return template.content;
  }
  const partOf = (key) => (key === 'opening' ? main.firstElementChild : main.querySelector(':scope > #' + CSS.escape(key)));

  function apply({ version: now, title, announcement, order, parts }) {
    version = now;
    document.title = title;
    for (const [key, markup] of Object.entries(parts)) {
      const fresh = parsed(markup);
      if (key === 'nav') {
        const list = document.createElement('ul');
        list.append(fresh);
        match(nav, list);
        continue;
      }
      const old = partOf(key);
      const node = fresh.firstElementChild;
      if (old) match(old, node);
      else main.append(node);
    }
    for (const part of [...main.children].slice(1)) if (!order.includes(part.id)) part.remove();
    let after = main.firstElementChild;
    for (const id of order) {
      const part = partOf(id);
      if (after.nextElementSibling !== part) after.after(part);
      after = part;
    }
    if (said.textContent !== announcement) said.textContent = announcement;
    refreshTip();
  }
  function say(text) {
    notice.hidden = text === '';
    if (notice.textContent !== text) notice.textContent = text;
  }

  const events = new EventSource('events?since=' + version);
  let lost;
  events.addEventListener('update', ({ data }) => {
    const update = JSON.parse(data);
    if (!paused) return apply(update);
    waiting = { ...update, parts: { ...waiting?.parts, ...update.parts } };
  });
  events.addEventListener('over', ({ data }) => {
    events.close();
    clearTimeout(lost);
    pause.hidden = true;
    if (waiting) apply(waiting);
    say(JSON.parse(data));
  });
  events.addEventListener('open', () => {
    clearTimeout(lost);
    say('');
  });
  events.addEventListener('error', () => {
    clearTimeout(lost);
    // A short break is not worth a word.
    lost = setTimeout(() => say('No connection to tinyzero watch: this is the last state that arrived.' +
      (events.readyState === EventSource.CLOSED ? '' : ' Trying again…')), 1500);
  });
  pause.hidden = false;
  pause.addEventListener('click', () => {
    paused = !paused;
    pause.setAttribute('aria-pressed', String(paused));
    if (!paused && waiting) apply(waiting);
    if (!paused) waiting = null;
  });
`;

export const liveScript = `
(() => {${tooltips}${updates}})();
`;
