/**
 * @file The README.md of an uploaded model: metadata for the Hugging Face hub, the base model, the verdict, the table of the run and
 * the command that repeats it.
 */
import { trainingOptionNames } from '../options/names.js';
import { algorithms } from '../stage2/algorithm.js';
import { counted } from '../util/format.js';
import { repeatCommand } from './command.js';
import type { RunRecord } from './read.js';
import { rowsFor } from './sections/evaluations.js';
import { judge } from './verdict.js';

export interface CardFacts {
  /** The model's name. */
  readonly name: string;
  readonly parameters: number;
  readonly isAdapter: boolean;
}

/** @param run absent for a model outside a run folder, about which less is known. */
export function modelCard({ name, parameters, isAdapter }: CardFacts, run?: RunRecord): string {
  const base = run && (run.stored.options.model ?? 'builtin');
  // Only hub ids have a meaning there.
  const isHubId = base !== undefined && /^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(base) && !base.startsWith('runs/');
  const metadata = [
    `library_name: ${isAdapter ? 'peft' : 'transformers'}`,
    'pipeline_tag: text-generation',
    ...(isHubId ? [`base_model: ${base}`] : []),
    'tags: [tinyzero, reinforcement-learning]',
  ];
  const kind = isAdapter ? 'A LoRA adapter' : 'A model';
  const size = isAdapter ? '' : ` of ${counted(parameters, 'parameter')}`;
  return [
    ['---', ...metadata, '---'].join('\n'),
    `# ${name}`,
    run === undefined ? `${kind}${size}, written by tinyzero.` : trained(`${kind}${size}`, base!, run),
    ...(run === undefined ? [] : results(run)),
    '',
  ].join('\n\n');
}

function trained(what: string, base: string, { stored, before, problems }: RunRecord): string {
  const { algo, task, problems: file } = stored.options;
  const subject = before?.task ?? task ?? file ?? 'multiplication';
  const rows = `${counted(problems.rows.length, 'row')} of ${counted(problems.train.length, 'distinct problem')}`;
  return `${what}, trained from \`${base}\` by tinyzero with ${algorithms[algo].title.replace('*', '\\*')} on ${subject}: ${rows}.`;
}

function results(run: RunRecord): string[] {
  const { sentence, notes } = judge(run);
  const { before, after } = run;
  const table =
    before === undefined
      ? []
      : [
          [
            `| ${counted(before.problems, 'held-out problem')} | before | after |`,
            '| --- | --- | --- |',
            ...rowsFor(before, after).map(
              ({ name, of, show }) =>
                `| ${name} | ${show(of(before))} | ${after === undefined ? '' : show(of(after))} |`,
            ),
          ].join('\n'),
        ];
  const command = repeatCommand('train', trainingOptionNames, run.stored).join(' ');
  return [
    ['## What it learned', sentence, ...notes].join('\n\n'),
    ...table,
    `## How to repeat it\n\n\`\`\`sh\n${command}\n\`\`\``,
  ];
}
