/** `--on modal` and `tinyzero modal` against Modal's protocol on loopback, where sandboxes are real processes. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import { lastLine, tinyzero } from '../../helpers/cli.js';
import { temporaryFolder } from '../../helpers/files.js';
import { openAccount } from '../../helpers/modal/account.js';

const wasm = ['--engine', 'wasm'];
const sampled = ['--num-train', '4', '--num-test', '2', '--num-samples', '2', '--max-new-tokens', '16', ...wasm];
/** Two updates, in seconds. */
const small = [...sampled, '--eval-samples', '0', '--batch-size', '2', '--max-steps', '2', '--force'];

test('a run on Modal equals a local run, and can be listed, fetched and read there', async (t) => {
  const account = await openAccount(t);
  const folder = temporaryFolder(t);
  const [here, there] = [join(folder, 'here'), join(folder, 'there')];
  // A path that goes up, as the sandbox must understand it too.
  const problems = relative('', join(folder, 'problems.jsonl'));
  const line = (a: number) => JSON.stringify({ prompt: `What is ${a} × 3?\n`, answer: a * 3 });
  writeFileSync(problems, Array.from({ length: 8 }, (_, i) => line(i + 2)).join('\n'));
  const options = ['train', ...small, '--problems', problems];

  const run = await account.run([...options, '--out', there, '--on', 'modal', '--gpu', 'L4', '--timeout', '90m'], {
    HF_TOKEN: 'hf_secret',
  });
  assert.equal(run.code, 0, run.stderr);

  await t.test('its plan and cost are printed before it starts', () => {
    const cost = run.stderr.indexOf('L4, 24 GB, for at most 90 min: $0.80 an hour, at most $1.20');
    assert.ok(cost >= 0 && cost < run.stderr.indexOf('Building the image'), run.stderr);
    assert.match(run.stderr, new RegExp(`sends +${problems}`));
  });

  await t.test('its progress and its end are those of a local run', async () => {
    const local = await tinyzero([...options, '--out', here]);
    assert.equal(local.code, 0, local.stderr);
    // Times differ, and so does the place of the problems, of which the titles and the command speak.
    const told = (text: string) => text.replaceAll(/\b[\d.]+ (s|min)\b/g, 'T').replaceAll(there, here);
    const verdict = (text: string) =>
      told(text)
        .split('\n')
        .filter((each) => !/updates, /.test(each));
    assert.deepEqual(verdict(run.stdout), verdict(local.stdout));
    for (const words of [
      'Held-out accuracy before training:',
      'Will training learn anything here?',
      'Stage 2: 2 updates in T',
    ]) {
      assert.ok(told(run.stderr).includes(words), words);
    }
    for (const name of ['v_star_dict.json', 'metrics.jsonl', 'rollouts.jsonl', 'final/model.safetensors']) {
      const differ = `${name} has other bytes`;
      assert.ok(readFileSync(join(here, name)).equals(readFileSync(join(there, name))), differ);
    }
    assert.ok(existsSync(join(there, 'report.html')));
    assert.ok(!existsSync(join(there, 'checkpoints')), 'the checkpoints of a finished run stay on the volume');
  });

  await t.test('the sandbox has the GPU, the token and the time; every other one has ended', () => {
    const [own, ...others] = account.sandboxes.filter(({ gpu }) => gpu !== '');
    assert.deepEqual([own!.gpu, own!.timeoutSecs, others.length], ['L4', 5400, 0]);
    assert.equal(own!.env.HF_TOKEN, 'hf_secret');
    assert.equal(own!.env.HF_HOME, join(account.volume('tinyzero-outputs'), '.modal/huggingface'));
    assert.ok(account.sandboxes.every(({ result }) => result !== undefined));
  });

  await t.test(
    'the image has Node, what the engine is built with, this package and the CUDA engine, under a name',
    () => {
      const [image] = [...account.named];
      assert.match(image![0], /^tinyzero:\d+\.\d+\.\d+-[0-9a-f]{12}$/);
      const layers = [...account.built.values()].flat().join('\n');
      assert.match(layers, /^FROM node:22-bookworm-slim/m);
      assert.match(layers, /python3-pip g\+\+ make/);
      const programs = account.executed.map((command) => command.join(' '));
      const installs = programs.filter((text) => /^npm install|^tinyzero engine/.test(text));
      assert.match(installs[0]!, /^npm install --global --ignore-scripts .*\.tgz$/);
      assert.deepEqual(installs.slice(1), ['tinyzero engine install --gpu']);
    },
  );

  await t.test('modal ls, get, logs', async () => {
    const { runs } = lastLine((await account.run(['modal', 'ls', '--json'])).stdout);
    assert.deepEqual(
      runs.map(({ name, command, gpu, timeoutSeconds, state, exitCode }: Record<string, unknown>) => ({
        ...{ name, command, gpu, timeoutSeconds, state, exitCode },
      })),
      [{ name: 'there', command: 'train', gpu: 'L4', timeoutSeconds: 5400, state: 'finished', exitCode: 0 }],
    );
    writeFileSync(join(there, 'metrics.jsonl'), 'damaged');
    const got = await account.run(['modal', 'get', 'there', there, '--json']);
    assert.equal(lastLine(got.stdout).bytes, readFileSync(join(here, 'metrics.jsonl')).length, got.stderr);
    assert.ok(readFileSync(join(here, 'metrics.jsonl')).equals(readFileSync(join(there, 'metrics.jsonl'))));
    const log = await account.run(['modal', 'logs', 'there']);
    assert.match(log.stderr, /Held-out accuracy after training:/);
    assert.match(log.stdout, /there is finished\./);
  });

  await t.test('a second run finds the image, and does not replace the first', async () => {
    const again = await account.run([...options, '--out', there, '--on', 'modal']);
    assert.equal(again.code, 1);
    assert.match(
      again.stderr,
      /already contains a run there\. Resume it with `tinyzero train --on modal --resume .*there`/,
    );
    assert.doesNotMatch(again.stderr, /Building the image/);
    const gone = await account.run(['modal', 'get', 'other']);
    assert.match(gone.stderr, /There is no run other on the volume/);
  });

  await t.test('sft equals a local run too', async () => {
    const [own, far] = [join(folder, 'sft-here'), join(folder, 'sft-there')];
    const data = join(folder, 'lines.jsonl');
    const lines = readFileSync('examples/worked.jsonl', 'utf8').split('\n').slice(0, 8);
    writeFileSync(data, lines.join('\n'));
    const learn = ['sft', '--data', data, '--epochs', '1', '--batch-size', '4', '--held-out', '0.25', ...wasm];
    const remote = await account.run([...learn, '--out', far, '--on', 'modal']);
    assert.equal(remote.code, 0, remote.stderr);
    const local = await tinyzero([...learn, '--out', own]);
    assert.equal(local.code, 0, local.stderr);
    assert.match(remote.stdout, /The held-out loss (fell|did not fall)/);
    assert.match(remote.stderr, /Held-out loss before training: .*Training: 2 updates in /s);
    for (const name of ['metrics.jsonl', 'final/model.safetensors']) {
      assert.ok(readFileSync(join(own, name)).equals(readFileSync(join(far, name))), name);
    }
    const piped = await tinyzero(['sft', '--data', '-', '--on', 'modal']);
    assert.match(piped.stderr, /--data: standard input cannot be sent to Modal/);
    const tinker = await tinyzero(['sft', '--data', data, '--on', 'tinker']);
    assert.match(tinker.stderr, /--on: only `tinyzero train` takes tinker/);
  });

  await t.test('eval uploads the trained model, and estimate-vstar downloads its file', async () => {
    const evaluation = ['eval', '--model', there, '--samples', '1', ...wasm, '--json', '--on', 'modal'];
    const evaluated = await account.run(evaluation);
    assert.equal(evaluated.code, 0, evaluated.stderr);
    const after = JSON.parse(readFileSync(join(there, 'eval-after.json'), 'utf8'));
    const { greedy, model } = lastLine(evaluated.stdout);
    assert.deepEqual([greedy, model], [after.greedy, there]);

    // The first half of the problems, sampled as the run sampled them.
    const out = join(folder, 'v.json');
    const shard = [...sampled, '--problems', problems, '--shard', '1/2', '--out', out];
    const estimated = await account.run(['estimate-vstar', ...shard, '--on', 'modal']);
    assert.equal(estimated.code, 0, estimated.stderr);
    const entries = Object.entries(JSON.parse(readFileSync(out, 'utf8')).entries);
    const whole = JSON.parse(readFileSync(join(there, 'v_star_dict.json'), 'utf8')).entries;
    assert.equal(entries.length, Math.ceil(Object.keys(whole).length / 2));
    for (const [prompt, entry] of entries) assert.deepEqual(entry, whole[prompt]);
  });
});
