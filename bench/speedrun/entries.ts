/** @file The entries of the speedrun: folders with an `entry.json`, each a command in any language (docs/speedrun.md). */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Entry {
  /** Name of its folder. */
  readonly name: string;
  readonly title: string;
  readonly notes: string;
  /** Program and arguments, with names in braces to fill in. */
  readonly command: readonly string[];
  /** The trained weights below `{out}`: one safetensors file with the names and shapes of the model's. */
  readonly weights: string;
}

/** What can stand in braces in a command. */
export interface Fillings {
  /** This Node, the Python of the peers, and the folder of the repository. */
  readonly node: string;
  readonly python: string;
  readonly root: string;
  /** The job as a JSON file (docs/speedrun.md), its seed, and a folder that exists and is empty. */
  readonly job: string;
  readonly seed: string;
  readonly out: string;
}

export const root = fileURLToPath(new URL('../../../', import.meta.url));

/** All entries, by name. @throws Error naming the file whose content is not that of an entry. */
export function readEntries(folder = join(root, 'bench/speedrun/entries')): Entry[] {
  return readdirSync(folder)
    .sort()
    .map((name) => {
      const path = join(folder, name, 'entry.json');
      const entry = JSON.parse(readFileSync(path, 'utf8')) as Partial<Entry>;
      const texts = [entry.title, entry.notes, entry.weights];
      const isCommand = Array.isArray(entry.command) && entry.command.length > 0;
      if (!isCommand || [...texts, ...entry.command!].some((text) => typeof text !== 'string')) {
        throw new Error(`${path}: expected title, notes and weights as strings, and command as a list of strings`);
      }
      return { ...(entry as Entry), name };
    });
}

/** The command with everything filled in. @throws Error for a name in braces that means nothing. */
export function filled({ name, command }: Entry, fillings: Fillings): string[] {
  return command.map((argument) =>
    argument.replace(/\{(\w+)\}/g, (whole, key: string) => {
      const value = fillings[key as keyof Fillings];
      if (value === undefined) throw new Error(`entry ${name}: unknown placeholder ${whole}`);
      return value;
    }),
  );
}
