/**
 * @file The live page as parts that are rendered again only when what they show has changed. Its sections are those of the
 * report, so that the page of a finished run is the report.
 */
import { documentOf, navigation, type PageSection, type SectionSpec, unbroken } from '../document.js';
import { remembered } from '../follow.js';
import { type Html, html, trusted } from '../html.js';
import { creatorOf, sections } from '../page.js';
import type { RunRecord } from '../read.js';
import { accuracyFigure } from '../sections/before-after.js';
import { sftSections } from '../sft/page.js';
import type { Followed } from './followed.js';
import { announcement, liveOpening, pathsOf, titleOf } from './opening.js';
import { rolloutsSection } from './rollouts.js';
import { liveScript } from './script.js';
import { liveStyle } from './style.js';

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
  render(all: readonly [Followed, ...Followed[]], mayRender: () => boolean, onRendered: (ms: number) => void): void;
  /** Changes after `version`; undefined if there are none. */
  since(version: number): Update | undefined;
  /** The whole page, which opens the events at `events`. */
  document(notice: string): string;
}

export function livePage(): LivePage {
  const fragments = new Map<string, Fragment>();
  const drawn = new Map<string, Drawn>();
  const accuracyOf = rememberedAccuracy();
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
    render(all, mayRender, onRendered) {
      const isOver = all.every(({ watched: { state } }) => state === 'finished');
      const [{ watched }] = all;
      const { run } = watched;
      const before = { title, said, order: keysOf(order) };
      const found = update([...newestOf(all, isOver), ...reportOf(all)], mayRender, onRendered);
      order = isOver ? found : [...found].sort(([a], [b]) => livePlace(a) - livePlace(b));
      if (run !== undefined) createdBy = creatorOf(run.record.stored);
      [title, said, path] = [titleOf(all), announcement(all), pathsOf(all)];
      let changed = set(
        'opening',
        unbroken(liveOpening(all, accuracyOf(run?.command === 'train' ? run.record : undefined)).markup),
      );
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
        notices: html`<p id="notice" role="status"${notice === '' && html` hidden`}>${notice}</p><p id="said" class="unseen" role="status" data-version="${version}"></p><noscript><p class="note">Without JavaScript, this page shows the run as it was when it was loaded.</p></noscript>`,
      });
    },
  };
}

/** The figure at the top, drawn again after an evaluation only. */
function rememberedAccuracy(): (record: RunRecord | undefined) => Html | undefined {
  const figure = remembered((before: RunRecord['before'], after: RunRecord['after']) =>
    accuracyFigure({ ...(before && { before }), ...(after && { after }) }),
  );
  return (record) => figure(record?.before, record?.after);
}

/** A section and what it shows. */
interface Drawable {
  readonly id: string;
  readonly name: string;
  /** It changes only with these. */
  readonly shows: readonly unknown[];
  readonly body: () => Html | undefined;
}

interface Drawn {
  readonly shows: readonly unknown[];
  /** Undefined where there was nothing to show. */
  readonly section: PageSection | undefined;
  readonly atMs: number;
}

/** The sections of the first run's report, with the runs of the same command overlaid. */
function reportOf(all: readonly [Followed, ...Followed[]]): Drawable[] {
  const runs = all.flatMap(({ watched }) => watched.run ?? []);
  const command = all[0].watched.run?.command;
  if (command === 'sft')
    return drawables(
      sftSections,
      runs.flatMap((run) => (run.command === 'sft' ? [run.record] : [])),
    );
  if (command === undefined) return [];
  return drawables(
    sections,
    runs.flatMap((run) => (run.command === 'train' ? [run.record] : [])),
  );
}

function drawables<Run>(specs: readonly SectionSpec<Run>[], [first, ...others]: readonly Run[]): Drawable[] {
  if (first === undefined) return [];
  return specs.map(({ id, name, body, shows }) => ({
    id,
    name,
    shows: [first, ...others].flatMap(shows),
    body: () => body([first, ...others]),
  }));
}

/** The newest rollouts of the first run, unless all is over. */
function newestOf(all: readonly [Followed, ...Followed[]], isOver: boolean): Drawable[] {
  const { run } = all[0].watched;
  if (run?.command !== 'train' || isOver) return [];
  const { record } = run;
  const body = () => rolloutsSection(record, all.length > 1);
  return [{ id: 'rollouts', name: 'Rollouts', shows: [record.rollouts.newest], body }];
}

const keysOf = (sections: readonly PageSection[]) => sections.map(([id]) => id).join(' ');

/** While a run is under way, what changes stands first. */
const liveOrder = ['compared', 'training', 'rollouts', 'stage-1', 'problems', 'before-after', 'examples', 'repeat'];
const livePlace = (id: string) => liveOrder.indexOf(id);
