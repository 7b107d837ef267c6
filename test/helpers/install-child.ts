/**
 * @file A process that installs an engine, to be killed: the real installer with a single source, which
 * hard-links the files of an installed engine (argument 1), so that it takes two seconds. Prints the result as JSON.
 */
import { cpSync, linkSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkLoads } from '../../src/engine/install/build/loading.js';
import { installEngine } from '../../src/engine/install/install.js';
import type { EngineManifest } from '../../src/engine/install/installed.js';
import type { Take } from '../../src/engine/install/sources.js';
import { silentReporter } from '../../src/util/reporter.js';

const [source = '', ...flags] = process.argv.slice(2);

const take: Take = async ({ staging, signal }) => {
  const { files, ...facts } = JSON.parse(readFileSync(join(source, 'engine.json'), 'utf8')) as EngineManifest;
  for (const { path } of files) {
    const target = join(staging, path);
    mkdirSync(dirname(target), { recursive: true });
    try {
      linkSync(join(source, path), target);
    } catch {
      cpSync(join(source, path), target); // another disk
    }
    await sleep(1); // gives the killer as many moments as there are files
  }
  await checkLoads(join(staging, facts.binding), undefined, signal);
  return facts;
};

const lines: string[] = [];
const result = await installEngine(
  { force: flags.includes('--force') },
  { ...silentReporter, line: (text) => void lines.push(text) },
  new AbortController().signal,
  { sources: [['wheel', take]] },
);
process.stdout.write(JSON.stringify({ already: result.already, folder: result.engine?.folder, lines }));
