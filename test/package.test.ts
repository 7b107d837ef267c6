/** The package as npm would publish it: which files, how large; what is installed from it is test/package.slow.ts. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

interface Packed {
  readonly size: number;
  readonly files: { path: string }[];
}

const maxBytes = 8_000_000;

/** Everything that a package needs, without development files. */
const wanted = [
  /^package\.json$/,
  /^README\.md$/,
  /^CONTRIBUTING\.md$/,
  /^LICENSE$/,
  /^dist\/src\/[\w/-]+\.(js|d\.ts)$/,
  /^models\/[\w-]+\/(README\.md|[\w-]+\.json|model\.safetensors)$/,
  /^native\/(README\.md|[\w/-]+\.(cc|h))$/,
  // The products of a web page.
  /^dist\/src\/report\/web\/kernel\.wasm$/,
  // Of many modules: what a page that trains runs, and the gradients of tfjs.
  /^dist\/src\/report\/web\/training\/worker\.bundle\.js$/,
  /^dist\/src\/engine\/ops\/tfjs-gradients\.bundle\.js$/,
  // Help texts and reports point to them.
  /^docs\/[\w-]+\.(md|svg|png)$/,
  /^examples\/[\w-]+\.(ts|jsonl|toml)$/,
];

test('the tarball holds what it must, no development files, and is small', () => {
  const output = execFileSync('npm', ['pack', '--dry-run', '--json'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [packed] = JSON.parse(output) as Packed[];
  const paths = packed!.files.map(({ path }) => path);
  assert.deepEqual(
    paths.filter((path) => !wanted.some((pattern) => pattern.test(path))),
    [],
  );
  for (const pattern of wanted)
    assert.ok(
      paths.some((path) => pattern.test(path)),
      `${pattern}`,
    );
  assert.ok(packed!.size < maxBytes, `${packed!.size} bytes`);
  // No output of a deleted source file, and none missing.
  for (const path of paths) {
    const source = path.replace(/^dist\/(.*?)(?:\.bundle)?\.(js|d\.ts)$/, '$1.ts');
    assert.ok(existsSync(source), `${path} without ${source}`);
  }
});

test('the types of the library need none of tfjs, since those need the types of a browser', () => {
  const seen = new Set<string>();
  const read = (path: string, from: string) => {
    if (seen.has(path)) return;
    seen.add(path);
    for (const [, name] of readFileSync(path, 'utf8').matchAll(/(?:from|import\() ?'([^']+)'/g)) {
      assert.doesNotMatch(name!, /tensorflow/, `${path}, imported by ${from}`);
      if (name!.startsWith('.')) read(join(dirname(path), name!.replace(/\.js$/, '.d.ts')), path);
    }
  };
  read('dist/src/index.d.ts', 'package.json');
  assert.ok(seen.size > 10, `only ${seen.size} files`);
});

test('what package.json points at is in the tarball', () => {
  const { bin, exports } = JSON.parse(readFileSync('package.json', 'utf8'));
  const paths = [bin.tinyzero, exports['.'].types, exports['.'].default];
  for (const path of paths) assert.ok(existsSync(path), path);
  assert.match(readFileSync(bin.tinyzero, 'utf8'), /^#!\/usr\/bin\/env node\n/);
});
