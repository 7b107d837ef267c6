/** @file Seeded damage to JSON and to chat templates that keeps enough of the form to get past the first check. */
import { damage, pick } from '../helpers/fuzz.js';

const deep = (depth: number): unknown => (depth === 0 ? 1 : [deep(depth - 1)]);

/** Values that a careless reader stumbles over. */
const hostileValues: readonly (() => unknown)[] = [
  () => null,
  () => true,
  () => false,
  () => 0,
  () => -1,
  () => 0.5,
  () => 2 ** 31,
  () => 2 ** 53,
  () => 1e300,
  () => -1e300,
  () => '',
  () => 'x',
  () => '\u001b[2J\u009b31m\u0000',
  () => '../../etc/passwd',
  () => 'x'.repeat(100_000),
  () => '__proto__',
  () => [],
  () => [null],
  () => {
    return {};
  },
  () => deep(60),
  () => deep(150),
  () => Array.from({ length: 5000 }, (_, i) => i),
  () => ({ type: 'Sequence' }),
  () => ({ Regex: '(a|a)*$' }),
  () => ({ Regex: '(' }),
  () => ({ String: '' }),
];

/** A copy of `value` with a few of its fields or elements changed, removed, doubled or swapped. */
function damageJson(value: unknown, random: () => number): unknown {
  let result = structuredClone(value);
  for (let count = 1 + Math.floor(random() * 3); count > 0; count -= 1) result = change(result, random);
  return result;
}

function change(value: unknown, random: () => number): unknown {
  const isContainer = typeof value === 'object' && value !== null;
  const keys = isContainer ? Object.keys(value) : [];
  if (!isContainer || keys.length === 0 || random() < 0.1) return pick(hostileValues, random)();
  const container = value as Record<string, unknown>;
  const key = pick(keys, random);
  const kind = random();
  if (kind < 0.6) container[key] = change(container[key], random);
  else if (kind < 0.75) container[key] = pick(hostileValues, random)();
  else if (kind < 0.85) {
    if (Array.isArray(container)) container.splice(Number(key), 1);
    else delete container[key];
  } else if (kind < 0.95) {
    const other = pick(keys, random);
    [container[key], container[other]] = [container[other], container[key]];
  } else
    Object.defineProperty(container, `${key}x`, {
      value: container[key],
      enumerable: true,
      writable: true,
      configurable: true,
    });
  return value;
}

/** The bytes of `value` as JSON, damaged as a tree, as bytes, or both. */
export function damagedJson(value: unknown, random: () => number): Uint8Array {
  const kind = random();
  const bytes = Buffer.from(JSON.stringify(kind < 0.8 ? damageJson(value, random) : value) ?? '');
  return kind < 0.7 ? bytes : damage(bytes, random);
}

const templatePieces = [
  '{{ range(1000000000) }}',
  '{% for i in range(100000) %}',
  '{% for m in messages %}',
  '{% endfor %}',
  '{% if true %}',
  '{% endif %}',
  '{% set x = messages %}',
  '{% set x = [x, x, x, x] %}',
  '{% set ns = namespace(t="ab") %}',
  '{% set ns.t = ns.t ~ ns.t %}',
  '{% set ns.n = ns %}',
  '{{ ns.t.replace("a", ns.t) }}',
  '{{ ns.t | replace("", ns.t) }}',
  '{{ messages | join(ns.t) }}',
  '{{ "a\nb" | indent(1000000000) }}',
  '{{ messages | tojson(indent=100000) }}',
  '{{ ns }}',
  '{{ messages[0].content.split("") }}',
  '{{ messages[0]["content"] * 1000000 }}',
  '{% macro m(a) %}{{ m(a) }}{% endmacro %}{{ m(1) }}',
  '{% generation %}',
  '{{ raise_exception("\u001b[31mno") }}',
  '{{ 1 // 0 }}{{ 2 ** 1024 }}',
  '{{ messages[1e9] }}{{ none.x }}',
  '(((((((((((((((((',
  '{#',
  '-%}',
  '\n'.repeat(5000),
];

export function damagedTemplate(template: string, random: () => number): string {
  let result = template;
  for (let count = 1 + Math.floor(random() * 6); count > 0; count -= 1) {
    const at = Math.floor(random() * (result.length + 1));
    // Between two tags the piece is a statement of its own.
    const place = random() < 0.7 ? Math.max(result.indexOf('{%', at), 0) : at;
    result = result.slice(0, place) + pick(templatePieces, random) + result.slice(place);
  }
  return random() < 0.8 ? result : Buffer.from(damage(Buffer.from(result), random)).toString('utf8');
}
