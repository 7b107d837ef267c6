// Bundles the worker of the page that trains (src/report/web/training/worker.ts) with all that it imports, for a browser:
// `node scripts/bundle.mjs [dist]`. Of our modules only the functions are kept that are used. Everything else that a module imports,
// from Node or a package, must have disappeared with the rest, and no global of Node may be used; otherwise the build fails and says so.
import { dirname, join, resolve } from 'node:path';
import { build } from 'esbuild';

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
      // Importing one of our modules does nothing by itself.
      if (path.startsWith('.')) {
        return { path: resolve(dirname(importer), path.replace(/\.js$/, '.ts')), sideEffects: false };
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

export async function bundleWorker(dist = 'dist') {
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

if (process.argv[1] === import.meta.filename) await bundleWorker(process.argv[2]);
