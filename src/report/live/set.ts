/** @file A watched set of runs: its plan, each of its runs, and its summary so far. */
import { basename, join, resolve } from 'node:path';
import { compareSeeds, type EvaluatedRun } from '../../policy/eval-seeds.js';
import { lockHolder } from '../../run/lock.js';
import { type PlannedRun, type RunPlan, readPlan, setFiles } from '../../run/many/plan.js';
import { type Member, type MemberState, memberOf } from '../../run/many/state.js';
import { summarizeSet } from '../../run/many/summary.js';
import type { UserError } from '../../util/errors.js';
import { counted } from '../../util/format.js';
import { followFile, remembered } from '../follow.js';
import type { SetRecord } from '../many/page.js';
import { judgeSet } from '../many/verdict.js';
import { tolerating } from '../read.js';
import { type Followed, followRunIn } from './followed.js';
import type { Watched } from './state.js';

export interface FollowedSet extends Pick<Watched, 'name' | 'path' | 'state' | 'damage'> {
  /** In the order of the plan. */
  readonly members: readonly Followed[];
  readonly record: SetRecord;
}

/** Reads the set in `folder` at each call; undefined while there is none. */
export function followSetIn(folder: string): () => FollowedSet | undefined {
  let errors: string[] = [];
  const onDamage = (error: UserError) => errors.push(error.message);
  const plan = tolerating<RunPlan | undefined>(
    followFile(join(folder, setFiles.plan), () => readPlan(folder)),
    onDamage,
  );
  const followed = new Map<string, { readonly look: () => Followed; readonly figures: typeof memberOfFollowed }>();
  const compare = remembered((...runs: readonly EvaluatedRun[]) => compareSeeds(runs));
  const summarize = remembered((known: RunPlan, ...members: readonly Member[]) =>
    summarizeSet(folder, known, members, (runs) => compare(...runs)),
  );
  let last: FollowedSet | undefined;
  return () => {
    errors = [];
    const known = plan();
    if (known === undefined) return last && { ...last, state: 'gone' };
    const runs = known.runs.map((run) => {
      const own = followed.get(run.name) ?? {
        look: followRunIn(join(folder, run.name)),
        figures: remembered(memberOfFollowed),
      };
      followed.set(run.name, own);
      return { run, found: own.look(), own };
    });
    const figures = runs.map(({ run, found: { watched }, own }) => {
      const { before, after, steps } = watched.run?.record ?? {};
      return own.figures(run, known.command, memberState(watched), steps, before, after);
    });
    const members = runs.map(({ found }) => found);
    last = {
      name: basename(resolve(folder)),
      path: folder,
      state: setState(folder, members),
      damage: [...errors, ...members.flatMap(({ watched }) => watched.damage)],
      members,
      record: {
        folder,
        plan: known,
        summary: summarize(known, ...figures),
        members: figures.map(({ evaluations }, i) => ({
          ...(evaluations && { evaluations }),
          steps: members[i]!.watched.run?.record.steps ?? noSteps,
          hasReport: false, // The server has no other page to link to.
        })),
      },
    };
    return last;
  };
}

const noSteps: readonly object[] = [];

type Recorded = NonNullable<Watched['run']>['record'];

function memberOfFollowed(
  run: PlannedRun,
  command: RunPlan['command'],
  state: MemberState,
  steps: Recorded['steps'] = [],
  before?: Recorded['before'],
  after?: Recorded['after'],
): Member {
  const reached = { state, steps, updates: steps.at(-1)?.step ?? 0 };
  if (state !== 'finished' || before === undefined || after === undefined) return memberOf(run, command, reached);
  if ('loss' in before || 'loss' in after) {
    if (!('loss' in before && 'loss' in after)) return memberOf(run, command, reached);
    return memberOf(run, command, { ...reached, losses: { before, after } });
  }
  return memberOf(run, command, { ...reached, evaluations: { before, after } });
}

function memberState({ state, holder }: Watched): MemberState {
  if (state === 'gone') return 'waiting';
  return state === 'waiting' && holder !== undefined ? 'running' : state;
}

function setState(folder: string, members: readonly Followed[]): Watched['state'] {
  const isAny = (state: Watched['state']) => members.some(({ watched }) => watched.state === state);
  if (members.every(({ watched }) => watched.state === 'finished')) return 'finished';
  return isAny('running') || lockHolder(folder) !== undefined ? 'running' : 'stopped';
}

/** `2 of 5 runs are finished, 2 are under way`; of a finished set, its verdict. */
export function setHeadline({ state, members, record: { summary, plan } }: FollowedSet): string {
  if (state === 'finished') return judgeSet(summary, plan).sentence;
  if (state === 'gone') return 'The folder of the runs is gone';
  const running = members.filter(({ watched }) => watched.state === 'running').length;
  const { finished, planned } = summary;
  const done = `${finished} of ${counted(planned, 'run')} ${finished === 1 ? 'is' : 'are'} finished`;
  if (state === 'stopped') return `Stopped; ${done}`;
  return running === 0 ? done : `${done}, ${running} ${running === 1 ? 'is' : 'are'} under way`;
}
