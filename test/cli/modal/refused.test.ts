/** What can go wrong before a run starts on Modal: each error says what to do, and nothing goes on running. */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { lastLine, tinyzero } from '../../helpers/cli.js';
import { temporaryFolder } from '../../helpers/files.js';
import { openAccount } from '../../helpers/modal/account.js';
import { codes } from '../../helpers/modal/server.js';

const remote = ['train', '--on', 'modal'];

test('the plan is printed without an account', async (t) => {
  const folder = temporaryFolder(t);
  const task = join(folder, 'task.ts');
  writeFileSync(task, "import { multiplicationTask } from './other.js';\n");
  const plan = await tinyzero([...remote, '--gpu', 'H100', '--timeout', '2h', '--lr', '1e-4', '--dry-run', '--json']);
  assert.equal(plan.code, 0, plan.stderr);
  const { command, gpu, timeoutSeconds, mostDollars, volume, image, sends } = lastLine(plan.stdout);
  assert.deepEqual(command.slice(0, 4), ['tinyzero', 'train', '--lr', '0.0001']);
  assert.deepEqual(command.slice(4, 10), ['--engine', 'tensorflow', '--no-install', '--json', '--quiet', '--out']);
  assert.deepEqual([gpu.name, timeoutSeconds, mostDollars, volume], ['H100', 7200, 7.9, 'tinyzero-outputs']);
  assert.deepEqual([image.length, sends], [4, []]);
  assert.ok(!existsSync('runs/nothing'));

  const wrong = await tinyzero([...remote, '--timeout', '30h', '--watch', '--seeds', '1..3', '--out', 'runs/a b']);
  assert.equal(wrong.code, 2);
  for (const words of ['--timeout: expected', '--watch: cannot', '--seeds: cannot', "found 'a b'"]) {
    assert.ok(wrong.stderr.includes(words), wrong.stderr);
  }
  const alone = await tinyzero([...remote, '--task', task]);
  assert.match(alone.stderr, /imports \.\/other\.js, and a task is sent to Modal as one file/);
  const here = await tinyzero(['eval', '--gpu', 'L4', '--detach', '--dry-run']);
  assert.equal(here.code, 2);
  assert.match(here.stderr, /--gpu: needs --on modal\n.*--detach: needs --on modal\n.*--dry-run: needs --on modal/);
});

test('a missing or refused token, a failed build, no GPU: explained, and nothing runs', async (t) => {
  const account = await openAccount(t);
  const out = ['--out', join(temporaryFolder(t), 'mine')];
  const attempt = async (words: RegExp, env: Record<string, string | undefined> = {}) => {
    const { code, stderr } = await account.run([...remote, ...out], env);
    assert.equal(code, 1);
    assert.match(stderr, words);
    assert.ok(account.sandboxes.every(({ result }) => result !== undefined));
  };
  await attempt(/Modal needs a token.*MODAL_TOKEN_ID and MODAL_TOKEN_SECRET/, { MODAL_TOKEN_ID: undefined });
  await attempt(/Modal does not answer at http:\/\/127\.0\.0\.1:9/, { MODAL_SERVER_URL: 'http://127.0.0.1:9' });
  account.faults.refuseToken = true;
  await attempt(/Modal rejected the token: .*not known.*settings\/tokens/);
  account.faults.refuseToken = false;
  account.faults.build = 'apt-get: no space left';
  await attempt(/Modal could not build the image: .*no space left.*https:\/\/modal\.com\/apps/s);
  delete account.faults.build;
  const { answer } = account.faults;
  account.faults.answer = (command) =>
    command[1] === 'engine' ? { code: 1, text: 'no answer from the index' } : undefined;
  await attempt(/failed while installing TensorFlow for CUDA \(.*exit code 1\):\nno answer from the index/);
  account.faults.answer = answer!;
  account.faults.noGpu = codes.exhausted;
  await attempt(/failed while starting a sandbox with A100: workspace limit for A100 reached\. Try another --gpu/);
  assert.deepEqual(
    account.sandboxes.filter(({ gpu }) => gpu !== ''),
    [],
  );
});
