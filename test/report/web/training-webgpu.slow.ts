/**
 * The page trains with WebGPU, on Chromium's SwiftShader: after an update, its weights are those of `train` on the wasm engine, up to
 * rounding.
 */
import assert from 'node:assert/strict';
import { readTensors } from '../../../src/report/web/decoder.js';
import { browserTest, withSoftwareWebGpu } from '../../helpers/chromium.js';
import { serveFolder } from '../../helpers/static-server.js';
import { downloadedWeights, exportedPage, tinyRun, trainedHere } from '../../helpers/training-page.js';

const oneUpdate = { ...tinyRun, maxSteps: 1 };

browserTest(
  'the page trains with WebGPU',
  async (browser, t) => {
    const { path } = await exportedPage(t, oneUpdate);
    const page = await browser.newPage();
    const wrong: string[] = [];
    page.on('pageerror', (error) => wrong.push(error.message));
    await page.goto(`${await serveFolder(t, path)}train.html`);
    await page.locator('#train:enabled').waitFor({ timeout: 120_000 });
    await page.getByLabel('Compute with').selectOption('webgpu');
    await page.getByRole('button', { name: 'Train' }).click();
    await page.locator('#train:enabled').waitFor({ timeout: 1_200_000 });
    assert.match(await page.locator('#state').innerText(), /^Finished\./);
    assert.match(await page.locator('#used').innerText(), /WebGPU on .*swiftshader.*software renderer/i);

    const tensorsOf = (file: Buffer) => readTensors(Uint8Array.from(file).buffer);
    const found = tensorsOf(await downloadedWeights(page));
    const expected = tensorsOf(await trainedHere(t, oneUpdate));
    assert.deepEqual(found.names, expected.names);
    // The first step of AdamW moves every weight by about the learning rate, whose sign is that of the gradient. So a few weights with
    // hardly any gradient may move the other way, and all others end where they should.
    let count = 0;
    let apart = 0;
    for (const name of expected.names) {
      const [values, others] = [expected.get(name)!, found.get(name)!];
      values.forEach((value, i) => {
        const difference = Math.abs(value - others[i]!);
        assert.ok(difference < 1e-3, `${name}[${i}] differs by ${difference}`);
        count += 1;
        apart += Number(difference > 1e-5);
      });
    }
    assert.ok(apart / count < 0.01, `${apart} of ${count} weights differ`);
    assert.deepEqual(wrong, []);
  },
  withSoftwareWebGpu,
);
