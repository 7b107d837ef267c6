/** The built-in job on WebGPU, at a reduced size: its results are those of wasm, and a run that loses its device resumes. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EngineName } from '../../src/engine/choices.js';
import { openAdapter } from '../../src/engine/webgpu/dawn.js';
import { defaultOptions } from '../../src/options/settings.js';
import { readTensors } from '../../src/report/web/decoder.js';
import type { TrainEvent } from '../../src/run/events.js';
import { runFiles } from '../../src/run/folder.js';
import { readLog } from '../../src/run/logs.js';
import { train } from '../../src/run/train.js';
import { readVStarFile } from '../../src/stage1/v-star-file.js';
import { silentReporter } from '../../src/util/reporter.js';
import { tinyzero } from '../helpers/cli.js';
import { assertClose } from '../helpers/close.js';
import { assertUserRejection } from '../helpers/errors.js';
import { temporaryFolder } from '../helpers/files.js';
import { webGpuTest } from '../helpers/webgpu.js';

/** Four problems of 6 × 6 to 9 × 9, two updates of two rows. */
const options = defaultOptions({
  ...{ min: 6, max: 9, numTrain: 4, numTest: 2, numSamples: 2, batchSize: 2, epochs: 1, evalSamples: 1 },
  ...{ trainOn: 'all', curriculum: 'none', force: true, maxSteps: 2, maxNewTokens: 16, seed: 5, saveEvery: 1 },
});

function run(folder: string, engine: EngineName, onEvent: (event: TrainEvent) => void = () => {}) {
  const taskApi = () => Promise.reject(new Error('not needed'));
  const request = { options, folder, resume: false, engine, install: false, taskApi } as const;
  return train(request, onEvent, silentReporter, new AbortController().signal);
}

/** The device that the engine requests. */
async function nextDevice(): Promise<() => GPUDevice> {
  const adapters = Object.getPrototypeOf(await openAdapter()) as { requestDevice: GPUAdapter['requestDevice'] };
  const { requestDevice } = adapters;
  let device: GPUDevice | undefined;
  adapters.requestDevice = function (this: GPUAdapter, descriptor) {
    const requested = requestDevice.call(this, descriptor);
    void requested.then((opened) => {
      device = opened;
    });
    adapters.requestDevice = requestDevice;
    return requested;
  };
  return () => device!;
}

webGpuTest(
  'a run gives what it gives on wasm; one that loses its device says so, and ends with the same bytes when resumed',
  async (t) => {
    const root = temporaryFolder(t);
    const [whole, other, lost] = [join(root, 'whole'), join(root, 'wasm'), join(root, 'lost')];
    const device = await nextDevice();
    const result = await run(whole, 'webgpu');
    const expected = await run(other, 'wasm');
    assert.equal(result.updates, 2);
    assert.deepEqual([result.before, result.after], [expected.before, expected.after], 'the same answers');
    const samples = (folder: string) => readVStarFile(join(folder, runFiles.vStar)).entries;
    assert.deepEqual(samples(whole), samples(other), 'the same rewards in stage 1');
    const steps = [whole, other].map((folder) => [...readLog(join(folder, 'metrics.jsonl'))]);
    for (const [index, step] of steps[1]!.entries()) {
      for (const name of ['loss', 'gradientNorm', 'reward'] as const) {
        const [found, wanted] = [steps[0]![index]![name], step[name]] as [number, number];
        assertClose(`${name} of update ${index + 1}`, [found], [wanted], { relative: 1e-3, absolute: 1e-6 });
      }
    }
    const file = (folder: string) => Uint8Array.from(readFileSync(join(folder, 'final', 'model.safetensors')));
    const [weights, wanted] = [file(whole), file(other)].map(({ buffer }) => readTensors(buffer));
    // AdamW's first step moves a weight by the learning rate, in the direction of a gradient that may be almost 0.
    for (const name of wanted!.names) assertClose(name, weights!.get(name)!, wanted!.get(name)!, { absolute: 1e-3 });

    await assertUserRejection(
      run(lost, 'webgpu', ({ kind }) => {
        if (kind === 'step') device().destroy();
      }),
      /^The GPU \(.+\) was lost: /,
      /--resume/,
    );
    assert.equal([...readLog(join(lost, 'metrics.jsonl'))].length, 1);
    const { code, stderr } = await tinyzero(['train', '--resume', lost, '--force']);
    assert.equal(code, 0, stderr);
    assert.deepEqual(file(lost), file(whole));
  },
);
