/**
 * @file The check whether a missing native engine is due to the machine or to a broken installer.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

interface Machine {
  supported(): boolean;
  answers(command: string, ...args: string[]): boolean;
  reachesIndex(): boolean;
}
type Judge = (attempts: { obstacle: string; sentence: string }[], machine: Machine) => string | undefined;

const script = pathToFileURL('scripts/native.mjs').href;
const bare: Machine = { supported: () => false, answers: () => false, reachesIndex: () => false };
const full: Machine = { supported: () => true, answers: () => true, reachesIndex: () => true };

test('an obstacle is believed only where the machine confirms it', async () => {
  const { judge } = (await import(script)) as { judge: Judge };
  for (const obstacle of ['unsupported-platform', 'no-pip', 'no-compiler', 'no-network']) {
    const attempts = [{ obstacle, sentence: 'Said the installer.' }];
    assert.equal(judge(attempts, bare), undefined, obstacle);
    assert.match(judge(attempts, full) ?? '', /, but: Said the installer\.$/, obstacle);
  }
});

test('a failed build, load or hash is never a reason to skip', async () => {
  const { judge } = (await import(script)) as { judge: Judge };
  for (const obstacle of ['build-failed', 'load-failed', 'wrong-hash', 'download-failed', 'no-npm']) {
    assert.equal(judge([{ obstacle, sentence: 'Why.' }], bare), 'Why.', obstacle);
  }
});
