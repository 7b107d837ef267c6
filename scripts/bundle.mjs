// Bundles the worker of the page that trains (src/report/web/training/worker.ts) with all that it imports, for a browser:
// `node scripts/bundle.mjs [dist]`. Of our modules only the functions are kept that are used. Everything else that a module imports,
// from Node or a package, must have disappeared with the rest; otherwise the build fails and names it.
import { dirname, join, resolve } from 'node:path';
import { build } from 'esbuild';

const source = resolve('src');
/** Packages that the page needs. */
const bundled = /^(@tensorflow\/|seedrandom$|valibot$)/;
/** A file that every web export has. */
const tokenizers = './tokenizers.js';

const plugin = {
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
};

export async function bundleWorker(dist = 'dist') {
  const { metafile } = await build({
    entryPoints: ['src/report/web/training/worker.ts'],
    outfile: join(dist, 'src/report/web/training/worker.bundle.js'),
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    minify: true,
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
    plugins: [plugin],
  });
  const [{ imports, inputs }] = Object.values(metafile.outputs);
  const left = imports.map(({ path }) => path).filter((path) => path !== tokenizers);
  if (left.length === 0) return metafile;
  const users = Object.keys(inputs).filter((file) =>
    metafile.inputs[file]?.imports.some(({ path }) => left.includes(path)),
  );
  throw new Error(`the page's worker needs ${left.join(', ')}, which a page lacks; imported by ${users.join(', ')}`);
}

if (process.argv[1] === import.meta.filename) await bundleWorker(process.argv[2]);
