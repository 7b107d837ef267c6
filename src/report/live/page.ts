/**
 * @file The live page as parts that are rendered again only when what they show has changed. What stands on it comes from a view:
 * of runs, of a set of runs, or of files of stage 1.
 */
import { documentOf, navigation, type PageSection, unbroken } from '../document.js';
import { type Html, html, trusted } from '../html.js';
import { liveScript } from './script.js';
import { liveStyle } from './style.js';

/** What the page shows as of a moment. */
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
   * Renders what changed. A section that may not be rendered yet stays as it was; the one that waited longest comes first.
   *
   * @param mayRender asked before each section. @param onRendered told the milliseconds of processor time that it took.
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

  /** Renders the sections that show something new, as far as they may be. */
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
