// `node scripts/bundle.mjs [dist]` bundles files with everything that they import: parts of packages for Node (`forNode`),
// and for a browser the worker of the page that trains (src/report/web/training/worker.ts). The worker's bundle keeps only
// those functions of our modules that are used. No other import from Node or a package may remain, and no global of Node
// may be used; otherwise the build fails and says so.
import { rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { build } from 'esbuild';
import { assembleKernel } from './kernel.mjs';

const source = resolve('src');
/** Packages that the page needs. */
const packages = /^(@tensorflow\/|seedrandom$|valibot$)/;
/** A file that every web export has. */
const tokenizers = './tokenizers.js';

const plugin = (bundled) => ({
  name: 'page',
  setup({ onResolve }) {
    onResolve({ filter: /./ }, ({ path, importer }) => {
      if (!importer.startsWith(source)) return undefined;
      // Importing one of our modules does nothing by itself, with one exception.
      if (path.startsWith('.')) {
        const sideEffects = path.endsWith('/tfjs-gradients.js');
        return { path: resolve(dirname(importer), path.replace(/\.js$/, '.ts')), sideEffects };
      }
      if (bundled.test(path)) return undefined;
      return { path: path === '@huggingface/tokenizers' ? tokenizers : path, external: true, sideEffects: false };
    });
  },
});

const options = {
  entryPoints: ['src/report/web/training/worker.ts'],
  bundle: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
};

async function bundleWorker(dist) {
  const outfile = join(dist, 'src/report/web/training/worker.bundle.js');
  const { metafile } = await build({ ...options, outfile, minify: true, plugins: [plugin(packages)] });
  const [{ imports, inputs }] = Object.values(metafile.outputs);
  const left = imports.map(({ path }) => path).filter((path) => path !== tokenizers);
  if (left.length > 0) {
    const users = Object.keys(inputs).filter((file) =>
      metafile.inputs[file]?.imports.some(({ path }) => left.includes(path)),
    );
    throw new Error(`the page's worker needs ${left.join(', ')}, which a page lacks; imported by ${users.join(', ')}`);
  }
  // Packages ask first whether they run in Node. Our own code, without them, must not need it.
  const { outputFiles } = await build({ ...options, write: false, plugins: [plugin(/^$/)] });
  const found = /^.*(?<![.\w'`])(?:(?:Buffer|process)\s*\.|require\s*\().*$/m.exec(outputFiles[0].text);
  if (found !== null) throw new Error(`the page's worker needs Node: ${found[0].trim()}`);
}

/**
 * Packages for Node that load faster as one file than as many. tfjs's own modules share one engine with the package, by
 * global names.
 */
const forNode = { 'engine/ops/tfjs-gradients': '.bundle.js', 'report/charts/plot': '.js' };

async function bundlePackages(dist) {
  for (const [name, ending] of Object.entries(forNode)) {
    const outfile = join(dist, `src/${name}${ending}`);
    await build({
      entryPoints: [`src/${name}.ts`],
      outfile,
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      minify: true,
      legalComments: 'eof',
      logLevel: 'warning',
    });
    rmSync(`${outfile}.map`, { force: true });
  }
}

/** Everything in `dist` that is bundled. */
export async function bundle(dist = 'dist') {
  await Promise.all([assembleKernel(dist), bundleWorker(dist), bundlePackages(dist)]);
}

if (process.argv[1] === import.meta.filename) await bundle(process.argv[2]);
