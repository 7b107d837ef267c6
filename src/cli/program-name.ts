/**
 * @file How this process was started, so that printed commands can be run as they are: by an installed `tinyzero`, by
 * `npx tinyzero`, or by `node dist/src/cli.js` in a checkout.
 */
import { basename, relative, sep } from 'node:path';

/** `tinyzero`, `npx tinyzero`, or `node dist/src/cli.js`. */
export function programName(
  script: string = process.argv[1] ?? '',
  { npm_command: npmCommand }: NodeJS.ProcessEnv = process.env,
): string {
  const folders = script.split(sep);
  if (npmCommand === 'exec' || folders.includes('.bin')) return 'npx tinyzero';
  // A link on the PATH, or the package that it points to.
  if (basename(script) === 'tinyzero' || folders.includes('node_modules')) return 'tinyzero';
  const near = relative('', script);
  const path = near.startsWith('..') ? script : near;
  return `node ${/^[\w./\\:-]+$/.test(path) ? path : JSON.stringify(path)}`;
}

/** `text` with every command in backquotes, such as `tinyzero train`, in the form that works here. */
export function asInvoked(text: string): string {
  return text.replace(/`tinyzero (?=[a-z-])/g, `\`${programName()} `);
}
