// Makes the package for publication: `npm run pack [-- FOLDER]`. Compiles src/ in a separate folder, without source maps (which
// would point to sources that are not in the package); dist/ is unchanged. The README's links lead to the published files,
// since a registry's page of the package has no folder to which they could be relative.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { bundle } from './bundle.mjs';

const root = resolve('.');
const destination = resolve(process.argv[2] ?? '.');
const staging = mkdtempSync(join(tmpdir(), 'tinyzero-pack-'));

function run(command, args, cwd) {
  const { status } = spawnSync(command, args, { cwd, stdio: 'inherit', shell: process.platform === 'win32' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed`);
}

try {
  const places = {
    rootDir: root,
    outDir: join(staging, 'dist'),
    typeRoots: ['node_modules/@types', 'node_modules'].map((folder) => join(root, folder)),
  };
  const compilerOptions = { ...places, sourceMap: false };
  const config = join(staging, 'tsconfig.json');
  writeFileSync(
    config,
    JSON.stringify({ extends: join(root, 'tsconfig.json'), compilerOptions, include: [join(root, 'src')] }),
  );
  run(join(root, 'node_modules/.bin/tsc'), ['-p', config], root);
  await bundle(join(staging, 'dist'));
  const { name: packageName, version, files } = JSON.parse(readFileSync('package.json', 'utf8'));
  for (const name of ['package.json', ...files.filter((file) => !/^!|^dist\//.test(file))]) {
    cpSync(name, join(staging, name), { recursive: true });
  }
  const readme = join(staging, 'README.md');
  const published = `](https://unpkg.com/${packageName}@${version}/`;
  writeFileSync(readme, readFileSync(readme, 'utf8').replace(/\]\((?!https?:|#)/g, published));
  run('npm', ['pack', '--pack-destination', destination], staging);
} finally {
  rmSync(staging, { recursive: true, force: true });
}
