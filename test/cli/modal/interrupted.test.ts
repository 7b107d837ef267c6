/** Runs on Modal that do not end well: lost connections, a timeout, Ctrl-C, `modal stop`. Nothing is lost. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tinyzero } from '../../helpers/cli.js';
import { temporaryFolder } from '../../helpers/files.js';
import { openAccount } from '../../helpers/modal/account.js';

/** Enough to be stopped on the way three times. */
const updates = 30;
const options = [
  ...['train', '--num-train', '4', '--num-test', '2', '--eval-samples', '0', '--num-samples', '2', '--batch-size', '2'],
  ...['--max-new-tokens', '16', '--epochs', '100', '--max-steps', String(updates), '--eval-every', '0'],
  ...['--save-every', '1', '--force', '--engine', 'wasm'],
];

test('a run that is cut off at every turn ends with the bytes of one that is not', async (t) => {
  const account = await openAccount(t);
  const folder = temporaryFolder(t);
  const out = join(folder, 'mine');
  const local = tinyzero([...options, '--out', join(folder, 'local')]);

  const started = await account.run([...options, '--out', out, '--on', 'modal', '--detach']);
  assert.equal(started.code, 0, started.stderr);
  assert.match(started.stdout, /mine runs on Modal\.\n +tinyzero modal logs mine/);

  // A lost connection does not show, and the timeout is told.
  const watching = account.start(['modal', 'logs', 'mine']);
  await watching.prints('Training builtin');
  await account.cut(300);
  await watching.prints(/Update \d|Stage 2: \d/);
  account.hold('mine');
  account.expire('mine');
  const watched = await watching.ended;
  const opened = watched.stderr.split('\n').filter((line) => line.startsWith('Training builtin'));
  assert.equal(opened.length, 1, 'no line twice');
  assert.match(watched.stdout, /mine was saved and stopped|mine was killed/);

  /** Lets the program go on when it was asked to stop. */
  const asked = async (times: number) => {
    const isStop = (command: readonly string[]) => command.join(' ').includes('kill -TERM');
    while (account.executed.filter(isStop).length < times) await new Promise((resolve) => setTimeout(resolve, 50));
  };

  // Ctrl-C saves the run there.
  const resume = ['train', '--on', 'modal', '--resume', out, '--engine', 'wasm'];
  const resumed = account.start(resume);
  await resumed.prints('Resuming after update');
  let goOn = account.hold('mine');
  resumed.kill('SIGINT');
  await asked(1);
  goOn();
  const stopped = await resumed.ended;
  assert.equal(stopped.code, 130, stopped.stderr);
  assert.match(stopped.stderr, /Asking mine to save and stop/);
  assert.match(
    stopped.stderr,
    /mine is stopped and saved on the volume .* `tinyzero train --on modal --resume \S+mine`/,
  );

  // Another terminal cannot start it twice, but stop it.
  const other = account.start([...resume, '--json']);
  await other.prints('"event":"resumed"');
  goOn = account.hold('mine');
  const twice = await account.run(resume);
  assert.match(twice.stderr, /mine is already running .*modal logs mine/);
  const order = account.start(['modal', 'stop', 'mine']);
  await asked(2);
  goOn();
  const ordered = await order.ended;
  assert.equal(ordered.code, 0, ordered.stderr);
  assert.match(ordered.stdout, /mine is stopped/);
  const ended = await other.ended;
  assert.equal(JSON.parse(ended.stdout.trim().split('\n').at(-1)!).event, 'error');

  const last = await account.run(resume);
  assert.equal(last.code, 0, last.stderr);
  await local;
  for (const name of ['metrics.jsonl', 'rollouts.jsonl', 'final/model.safetensors']) {
    assert.ok(readFileSync(join(out, name)).equals(readFileSync(join(folder, 'local', name))), name);
  }
});
