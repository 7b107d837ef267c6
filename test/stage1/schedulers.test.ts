/**
 * The examples of docs/scale.md: each scheduler's line is run as the scheduler would, once for each index. One shard is killed
 * while it works and started again. The merged file must have the bytes of a file that was never divided.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { cliPath, merge, tinyzero } from '../helpers/cli.js';
import { temporaryFolder } from '../helpers/files.js';

const shards = 2;

/** The code of an example in docs/scale.md. */
function example(name: string): string {
  const text = readFileSync('docs/scale.md', 'utf8');
  const [, code] = new RegExp(`<!-- example: ${name} -->\n\`\`\`\\w+\n([\\s\\S]*?)\`\`\``).exec(text) ?? [];
  assert.ok(code, `docs/scale.md has the example ${name}`);
  return code;
}

interface Scheduler {
  readonly script: string;
  /** The variables that it sets for the shard `index`, from 0, besides those that the user sets. */
  readonly variables: (index: number) => Record<string, string>;
}

const schedulers: Record<string, () => Scheduler> = {
  kubernetes() {
    const { spec } = parse(example('kubernetes'));
    assert.equal(spec.completionMode, 'Indexed');
    const [container] = spec.template.spec.containers;
    const [shell, option, script] = container.command;
    assert.deepEqual([shell, option], ['sh', '-c']);
    const given = Object.fromEntries(
      container.env.map((each: { name: string; value: string }) => [each.name, each.value]),
    );
    assert.equal(spec.completions, Number(given.SHARDS), 'as many pods as shards');
    return { script, variables: (index) => ({ JOB_COMPLETION_INDEX: `${index}`, SHARDS: `${shards}` }) };
  },
  skypilot() {
    const { run, num_nodes, envs } = parse(example('skypilot'));
    assert.ok(num_nodes > 1 && envs.MODEL);
    return {
      script: run,
      variables: (index) => ({ SKYPILOT_NODE_RANK: `${index}`, SKYPILOT_NUM_NODES: `${shards}`, DATA: '.' }),
    };
  },
  slurm() {
    const script = example('slurm');
    assert.match(script, /^#SBATCH --array=1-\d+$/m, 'indices from 1');
    return {
      script,
      variables: (index) => ({ SLURM_ARRAY_TASK_ID: `${index + 1}`, SLURM_ARRAY_TASK_COUNT: `${shards}` }),
    };
  },
};

/** More problems per shard than one group, after which a file is saved: 32 problems of 8 samples. */
const problems = Array.from({ length: 11 }, (_, a) => Array.from({ length: 12 }, (_, b) => [a + 2, b + 1] as const))
  .flat()
  .map(([a, b]) => JSON.stringify({ prompt: `What is ${a} × ${b}?\n`, answer: a * b }));

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

function shell(script: string, cwd: string, env: Record<string, string>): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', script], { cwd, env: merge(env), stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, stderr }));
  });
}

test('each scheduler of docs/scale.md: shards, one of them killed, merge to the bytes of one file', async (t) => {
  const root = temporaryFolder(t);
  const bin = join(root, 'bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'tinyzero'), `#!/bin/sh\nexec "${process.execPath}" "${cliPath}" "$@"\n`);
  chmodSync(join(bin, 'tinyzero'), 0o755);
  // Ends the process with SIGKILL right after it saved its first group.
  const killer = join(root, 'killer.mjs');
  writeFileSync(
    killer,
    `import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
const { renameSync } = fs;
fs.renameSync = (from, to) => {
  renameSync(from, to);
  if (String(to).endsWith('part-2.json')) process.kill(process.pid, 'SIGKILL');
};
syncBuiltinESMExports();`,
  );
  const base = { PATH: `${bin}:${process.env.PATH}`, MODEL: 'builtin' };
  const folderOf = (name: string) => {
    const folder = join(root, name);
    mkdirSync(folder);
    writeFileSync(join(folder, 'problems.jsonl'), `${problems.join('\n')}\n`);
    return folder;
  };
  const whole = join(folderOf('whole'), 'v_star_dict.json');
  const alone = await tinyzero(['estimate-vstar', '--problems', join(root, 'whole', 'problems.jsonl'), '--out', whole]);
  assert.equal(alone.code, 0, alone.stderr);

  for (const [name, read] of Object.entries(schedulers)) {
    const { script, variables } = read();
    const folder = folderOf(name);
    const envOf = (index: number) => ({ ...base, ...variables(index) });
    // One is enough: what is killed and resumed is the same command for all.
    const isKilled = name === 'kubernetes';
    if (isKilled) {
      const killed = await shell(script, folder, { ...envOf(1), NODE_OPTIONS: `--import ${killer}` });
      assert.ok(killed.signal === 'SIGKILL' || killed.code === 137, `${name} was killed: ${killed.stderr}`);
      const begun = join(folder, 'part-2.json');
      const early = await tinyzero(['merge-vstar', begun, '--out', join(folder, 'early.json')]);
      assert.equal(early.code, 1);
      assert.match(early.stderr, /part-2\.json is incomplete/);
    }
    const ended = await Promise.all(Array.from({ length: shards }, (_, index) => shell(script, folder, envOf(index))));
    for (const { code, stderr } of ended) assert.equal(code, 0, `${name}: ${stderr}`);
    if (isKilled) assert.match(ended[1]!.stderr, /Resuming part-2\.json/);
    const merged = join(folder, 'v_star_dict.json');
    // In an order that no shell would give.
    const parts = [2, 1].map((part) => join(folder, `part-${part}.json`));
    const { code, stderr } = await tinyzero(['merge-vstar', ...parts, '--out', merged]);
    assert.equal(code, 0, stderr);
    assert.ok(readFileSync(merged).equals(readFileSync(whole)), `${name}: the bytes of one file`);
  }
});
