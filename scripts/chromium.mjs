// The headless Chromium of the npm package @sparticuz/chromium (Linux on x64), for tests of pages. It is unpacked once, with the
// libraries and fonts that a bare machine lacks; nothing is downloaded.
import {
  chmodSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createBrotliDecompress } from 'node:zlib';
import { chromium } from 'playwright-core';
import { extract } from 'tar';

const entry = createRequire(import.meta.url).resolve('@sparticuz/chromium');
const root = join(entry.slice(0, entry.lastIndexOf('@sparticuz')), '@sparticuz', 'chromium');

/**
 * `env`: for the test processes, so that they find the browser. `missing`: why there is none. `TINYZERO_CHROMIUM` names another one.
 */
export async function setUpChromium() {
  if (process.env.TINYZERO_CHROMIUM !== undefined) return { env: {} };
  if (process.platform !== 'linux' || process.arch !== 'x64') return { env: {} };
  try {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const folder = resolve(`node_modules/.cache/tinyzero-chromium-${version}`);
    const program = join(folder, 'start');
    if (!existsSync(program)) await unpack(folder, writeChromium);
    // Some machines lack a system library, or forbid what it needs.
    await (await chromium.launch({ executablePath: program, args: ['--disable-gpu'] })).close();
    return { env: { TINYZERO_CHROMIUM: program } };
  } catch (error) {
    const reason = `the packaged Chromium does not start: ${error.message.split('\n')[0]}`;
    return { env: { TINYZERO_TEST_CHROMIUM_MISSING: reason }, missing: reason };
  }
}

async function writeChromium(folder, place) {
  await pipeline(archive('chromium.br'), createWriteStream(join(folder, 'chromium')));
  chmodSync(join(folder, 'chromium'), 0o755);
  for (const name of ['swiftshader', 'al2023', 'fonts']) await untar(`${name}.tar.br`, folder);
  // The same fonts on every machine.
  const fonts = `<dir>${join(place, 'fonts')}</dir><cachedir>${join(place, 'fonts-cache')}</cachedir>`;
  writeFileSync(join(folder, 'fonts.conf'), `<?xml version="1.0"?><fontconfig>${fonts}</fontconfig>\n`);
  const start = [
    '#!/bin/sh',
    `export FONTCONFIG_FILE='${join(place, 'fonts.conf')}'`,
    `export LD_LIBRARY_PATH='${join(place, 'lib')}'`,
    `exec '${join(place, 'chromium')}' "$@"`,
  ];
  writeFileSync(join(folder, 'start'), `${start.join('\n')}\n`, { mode: 0o755 });
}

const archive = (name) => createReadStream(join(root, 'bin', name)).compose(createBrotliDecompress());

/** Unpacks an archive of the package. @param files all, or those named. */
export async function untar(name, folder, files) {
  await pipeline(archive(name), extract({ cwd: folder }, files));
}

/** Makes `folder`, whole or not at all. @param write gets the folder to write to, and the place where it will be. */
export async function unpack(folder, write) {
  mkdirSync(dirname(folder), { recursive: true });
  const staging = mkdtempSync(`${folder}-`);
  try {
    await write(staging, folder);
    rmSync(folder, { recursive: true, force: true });
    renameSync(staging, folder);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}
