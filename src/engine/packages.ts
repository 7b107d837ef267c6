/**
 * @file Optional packages: found in the current folder's packages or tinyzero's own, and loaded only when something uses them.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { systemErrorCode } from '../util/errors.js';
import { readJsonRecord } from '../util/json.js';

/** The file that importing the optional package `name` would load; undefined if it is not installed. */
export function findPackage(name: string): string | undefined {
  for (const from of [join(process.cwd(), 'package.json'), import.meta.url]) {
    try {
      return createRequire(from).resolve(name);
    } catch (error) {
      if (systemErrorCode(error) !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  return undefined;
}

/** The version in the `package.json` of the package `name`, whose file `entry` is. */
export function packageVersion(entry: string, name: string): string {
  let folder = dirname(entry);
  while (!folder.endsWith(join('node_modules', name)) && dirname(folder) !== folder) folder = dirname(folder);
  return String(readJsonRecord(join(folder, 'package.json')).version);
}
