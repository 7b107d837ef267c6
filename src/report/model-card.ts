/**
 * @file The README.md of an uploaded model: metadata for the Hugging Face hub, the base model, the verdict, the table of the run and
 * the command that repeats it.
 */
import { trainingOptionNames } from '../options/names.js';
import { algorithms } from '../stage2/algorithm.js';
import { counted } from '../util/format.js';
import { repeatCommand } from './command.js';
import type { RunRecord } from './read.js';
import { rowsFor } from './sections/before-after.js';
import { judge } from './verdict.js';

export interface CardFacts {
  /** The model's name. */
  readonly name: string;
  readonly parameters: number;
  readonly isAdapter: boolean;
}

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
