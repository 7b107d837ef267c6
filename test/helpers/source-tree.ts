/** @file The tree of src/ as docs/source.md shows it: every file with the first sentence of its header. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Lines of a text block; throws for a file without an `@file` header. */
export function sourceTree(folder: string): string {
  const lines = [`${folder}/`, ...listed(folder, '  ')];
  return lines.join('\n');
}

function listed(folder: string, indent: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true }).sort(
    // Files before folders, each in order of name.
    (a, b) => Number(a.isDirectory()) - Number(b.isDirectory()) || (a.name < b.name ? -1 : 1),
  );
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return [`${indent}${entry.name}/`, ...listed(path, `${indent}  `)];
    return [`${indent}${entry.name.padEnd(26 - indent.length)}${summary(path)}`];
  });
}

function summary(path: string): string {
  const header = /^(?:#!.*\n)?(?:\/\*\*\s+(?:\* )?|\(; )@file ([\s\S]*?)(?:\*\/|;\))/.exec(
    readFileSync(path, 'utf8'),
  )?.[1];
  if (header === undefined) throw new Error(`${path} has no @file header`);
  const text = header.replace(/\s*\n\s*\*\s?/g, ' ').trim();
  const sentence = (/^.*?[.](?=\s|$)/.exec(text)?.[0] ?? text).replace(/\.$/, '');
  if (sentence.length <= longest) return sentence;
  // A long sentence is cut after a phrase.
  const ends = [...sentence.matchAll(/: |; |, | \(/g)].map((match) => match.index).filter((end) => end >= shortest);
  const end = ends.findLast((each) => each <= longest) ?? ends[0] ?? sentence.length;
  return sentence.slice(0, end);
}

/** Lengths of a phrase: the most that fits beside a file's name, and the least that is meaningful. */
const longest = 86;
const shortest = 20;
