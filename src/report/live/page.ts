/**
 * @file The live page as parts that are rendered again only when what they show has changed, with its style and the script
 * that applies the changes. Its content comes from a view of runs, of a set of runs, or of files of stage 1.
 */
import { documentOf, navigation, type PageSection, unbroken } from '../document.js';
import { type Html, html, trusted } from '../html.js';
import { tooltips } from '../script.js';

/** What the page shows at one moment. */
export interface View {
  /** For the browser's tab. */
  readonly title: string;
  /** For screen readers: changes with the phases of the work, not with every update. */
  readonly announcement: string;
  readonly path: string;
  /** The program that made the files; undefined while there are none. */
  readonly createdBy: string | undefined;
  readonly opening: Html;
  /** In the order of the page. */
  readonly sections: readonly Drawable[];
}

/** A section and what it shows. */
export interface Drawable {
  readonly id: string;
  readonly name: string;
  /** It changes only with these. */
  readonly shows: readonly unknown[];
  readonly body: () => Html | undefined;
}

/** A section as it was drawn last. */
interface Drawn {
  readonly shows: readonly unknown[];
  /** Undefined where there was nothing to show. */
  readonly section: PageSection | undefined;
  readonly atMs: number;
}

/** A part of the page by its place: `opening`, `nav` or the id of a section. */
interface Fragment {
  readonly markup: string;
  /** The version of the page in which it last changed. */
  readonly version: number;
}

/** What a browser needs to bring its page up to date. */
interface Update {
  readonly version: number;
  readonly title: string;
  readonly announcement: string;
  /** Ids of the sections, in order. */
  readonly order: readonly string[];
  /** Markup of the parts that changed. */
  readonly parts: Readonly<Record<string, string>>;
}

export interface LivePage {
  /**
   * Renders what changed. A section that may not be rendered yet stays unchanged; the one that has waited longest comes first.
   *
   * @param mayRender asked before each section. @param onRendered receives the milliseconds of processor time that it took.
   */
  render(view: View, mayRender: () => boolean, onRendered: (ms: number) => void): void;
  /** Changes after `version`; undefined if there are none. */
  since(version: number): Update | undefined;
  /** The whole page, which opens the events at `events`. */
  document(notice: string): string;
}

export function livePage(): LivePage {
  const fragments = new Map<string, Fragment>();
  const drawn = new Map<string, Drawn>();
  let version = 0;
  let order: readonly PageSection[] = [];
  let [title, said, path, createdBy] = ['', '', '', 'tinyzero'];

  /** Renders the sections that show something new, as far as `mayRender` allows. */
  const update = (
    sections: readonly Drawable[],
    mayRender: () => boolean,
    onRendered: (ms: number) => void,
  ): PageSection[] => {
    const isStale = ({ id, shows }: Drawable) => {
      const last = drawn.get(id)?.shows;
      return last?.length !== shows.length || last.some((each, i) => each !== shows[i]);
    };
    const waited = ({ id }: Drawable) => drawn.get(id)?.atMs ?? 0;
    for (const section of sections.filter(isStale).sort((a, b) => waited(a) - waited(b))) {
      if (!mayRender()) break;
      const start = process.cpuUsage();
      const { id, name, shows, body } = section;
      const content = body();
      drawn.set(id, { shows, section: content && [id, name, content], atMs: performance.now() });
      const { user, system } = process.cpuUsage(start);
      onRendered((user + system) / 1000);
    }
    return sections.flatMap(({ id }) => {
      const section = drawn.get(id)?.section;
      return section === undefined ? [] : [section];
    });
  };

  const set = (key: string, markup: string) => {
    if (fragments.get(key)?.markup === markup) return false;
    fragments.set(key, { markup, version: version + 1 });
    return true;
  };

  return {
    render(view, mayRender, onRendered) {
      const before = { title, said, order: keysOf(order) };
      order = update(view.sections, mayRender, onRendered);
      ({ title, announcement: said, path } = view);
      createdBy = view.createdBy ?? createdBy;
      let changed = set('opening', unbroken(view.opening.markup));
      changed = set('nav', navigation(order).markup) || changed;
      const ids = new Set(['opening', 'nav', ...order.map(([id]) => id)]);
      for (const key of fragments.keys()) if (!ids.has(key)) fragments.delete(key);
      for (const [id, , body] of order) changed = set(id, unbroken(body.markup)) || changed;
      changed ||= title !== before.title || said !== before.said || keysOf(order) !== before.order;
      if (changed) version += 1;
    },
    since(known) {
      if (known >= version) return undefined;
      const ids = order.map(([id]) => id);
      const parts = ['opening', 'nav', ...ids].flatMap((key) => {
        const fragment = fragments.get(key);
        return fragment !== undefined && fragment.version > known ? [[key, fragment.markup] as const] : [];
      });
      return { version, title, announcement: said, order: ids, parts: Object.fromEntries(parts) };
    },
    document(notice) {
      const page = {
        title,
        path,
        createdBy,
        opening: trusted(fragments.get('opening')?.markup ?? ''),
        sections: order,
      };
      return documentOf(page, {
        name: 'tinyzero watch',
        style: liveStyle,
        script: liveScript,
        connect: "'self'",
        controls: html`<p class="controls"><button type="button" id="pause" aria-pressed="false" hidden>Pause</button></p>`,
        notices: html`<p id="notice" role="status"${notice === '' && html` hidden`}>${notice}</p><p id="said" class="unseen" role="status" data-version="${version}"></p><noscript><p class="note">Without JavaScript, this page shows what was there when it was loaded.</p></noscript>`,
      });
    },
  };
}

const keysOf = (sections: readonly PageSection[]) => sections.map(([id]) => id).join(' ');

const liveStyle = `
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.controls { order: 3; }
.controls button { padding: .15rem .8rem; border: 1px solid var(--line); border-radius: 5px; background: var(--page); color: var(--accent); font: inherit; cursor: pointer; }
.controls button[aria-pressed="true"] { background: var(--accent); color: var(--page); border-color: var(--accent); }
#notice { margin: 1rem 0 0; padding: .6rem 1rem; border-radius: 6px; background: var(--panel); border: 1px solid var(--line); font-size: .875rem; }
.live.running { --tone: var(--accent); }
.live.running .badge span { animation: pulse 2s ease-in-out infinite; }
@keyframes pulse { 50% { opacity: .35; } }
.live { align-items: start; }
.phases { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 8.5rem), 1fr)); gap: .6rem 1.2rem; margin: 0 0 1.2rem; padding: 0; list-style: none; font-size: .8125rem; line-height: 1.35; }
.phases li { position: relative; padding: .5rem 0 0 1.25rem; border-top: 2px solid var(--line); color: var(--muted); }
.phases .sign { position: absolute; left: 0; }
.phases b { display: block; font-weight: 600; }
.phases .done { border-color: var(--accent); }
.phases .done .sign, .phases .now .sign { color: var(--accent); }
.phases .now { border-color: var(--accent); }
.phases .now b { color: var(--text); }
progress { display: block; width: 100%; height: .4rem; margin-top: .4rem; border: 0; border-radius: 1rem; overflow: hidden; background: var(--line); accent-color: var(--accent); appearance: none; }
progress::-webkit-progress-bar { background: var(--line); }
progress::-webkit-progress-value { background: var(--accent); border-radius: 1rem; transition: width .6s; }
progress::-moz-progress-bar { background: var(--accent); }
progress:indeterminate { background: linear-gradient(90deg, var(--line) 30%, var(--accent), var(--line) 70%) 0 0 / 200% 100%; animation: slide 1.8s linear infinite; }
progress:indeterminate::-webkit-progress-bar { background: transparent; }
@keyframes slide { from { background-position: 100% 0; } to { background-position: -100% 0; } }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 8.5rem), 1fr)); gap: .8rem 1.2rem; margin: 0 0 1rem; }
.tiles dt { color: var(--muted); font-size: .8125rem; }
.tiles dd { margin: 0; }
.tiles b { display: block; font-size: 1.45rem; line-height: 1.25; font-weight: 650; letter-spacing: -.01em; }
.tiles span { color: var(--muted); font-size: .8125rem; }
.watched { margin: 0 0 1.4rem; padding: 0; list-style: none; font-size: .875rem; }
.watched li { display: grid; grid-template-columns: minmax(0, max-content) 1fr; gap: 0 .7rem; align-items: center; padding: .45rem 0; border-bottom: 1px solid var(--line); }
.watched li:has(> svg) { grid-template-columns: auto minmax(0, max-content) 1fr; }
.watched b { overflow-wrap: anywhere; }
.watched li > span { color: var(--muted); text-align: right; }
.watched progress { grid-column: 1 / -1; }
.rollouts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19.5rem), 1fr)); gap: 1.2rem 1.6rem; margin: 0; padding: 0; list-style: none; }
.rollouts li { display: flex; flex-direction: column; min-width: 0; padding-left: .8rem; border-left: 3px solid var(--muted); }
.rollouts .up { border-color: var(--gain); } .rollouts .down { border-color: var(--loss); }
.asked { display: flex; gap: .2rem 1rem; justify-content: space-between; margin: 0 0 .35rem; font-size: .875rem; }
.asked b { white-space: pre-wrap; } .asked span { flex: none; color: var(--muted); font-size: .8125rem; }
.rollouts .completion { flex: 1; max-height: 11rem; }
.rollouts .facts { margin: .4rem 0 0; }
.reward { padding: 0 .45rem; border-radius: 3px; color: var(--text); background: color-mix(in srgb, color-mix(in srgb, var(--gain) var(--reward), var(--loss)) 22%, transparent); }
.up .effect { color: var(--gain); } .down .effect { color: var(--loss); }
@media (prefers-reduced-motion: reduce) { .live *, progress, progress::-webkit-progress-value { animation: none !important; transition: none !important; } }
`;

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

const liveScript = `
(() => {${tooltips}${updates}})();
`;
