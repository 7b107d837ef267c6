import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { parseArguments } from '../../src/cli/command-line.js';
import { commands } from '../../src/cli/tables/commands.js';
import { trainingOptionNames } from '../../src/options/names.js';
import { completeSettings, defaultOptions, type TrainingOptions } from '../../src/options/settings.js';
import { repeatCommand } from '../../src/report/command.js';

const train = commands.find(({ words }) => words.join() === 'train')!;

/** The options that a shell and our command line make of the command. */
function parsed(command: string): Record<string, unknown> {
  const text = execFileSync('sh', ['-c', `printf '%s\\0' ${command}`], { encoding: 'utf8' });
  const [program, word, ...args] = text.split('\0').slice(0, -1);
  assert.deepEqual([program, word], ['tinyzero', 'train']);
  return parseArguments(train, args, {}).values;
}

test('the command, read by a shell and by the command line, has the options of the run', {
  skip: process.platform === 'win32' && 'there is no POSIX shell',
}, () => {
  const changes: Partial<TrainingOptions>[] = [
    {},
    { seed: 3, lr: 1e-5, numTrain: 40, epochs: 7, reward: 'exact', force: true },
    { preset: 'seed', overlap: 'seed', algo: 'grpo', batchSize: 10 },
    { model: 'it\'s a $HOME `model` \\ "é"\n', task: 'a b.ts', vStar: 'v*.json', evalSamples: 0, beta1: 0 },
  ];
  for (const change of changes) {
    const { ...settings } = completeSettings(defaultOptions(change), {
      heldOut: 'tiny',
      hasChatTemplate: false,
      parameters: 413_000,
    });
    const options = Object.fromEntries(trainingOptionNames.map((name) => [name, settings[name]])) as TrainingOptions;
    const values = parsed(repeatCommand('train', trainingOptionNames, { options, engine: 'wasm' }).join(' '));
    assert.equal(values.engine, 'wasm');
    for (const name of trainingOptionNames) assert.deepEqual(values[name], options[name], name);
  }
});
