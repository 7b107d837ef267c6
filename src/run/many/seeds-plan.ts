/** @file The plan of `--seeds`: one run for each seed, alike otherwise. */
import { optionsAsFlags } from '../../options/settings.js';
import type { PlannedRun, RunPlan } from './plan.js';
import { runOptionNames } from './plan.js';

/** @param values the options of every run; their seed is not used. */
export function planSeeds(command: RunPlan['command'], values: object, seeds: readonly number[]): RunPlan {
  const flags = optionsAsFlags({ ...values }, runOptionNames(command));
  return {
    kind: 'seeds',
    command,
    swept: [],
    settings: [{ name: 'all', values: {} }],
    runs: seeds.map(
      (seed): PlannedRun => ({ name: `seed-${seed}`, seed, setting: 0, flags: { ...flags, seed: `${seed}` } }),
    ),
  };
}
