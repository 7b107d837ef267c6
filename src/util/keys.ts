/** @file The keys of records whose type lists them all. */

/** `Object.keys`, typed. `record` must have no other keys than its type says. */
export function keysOf<Key extends string>(record: Readonly<Partial<Record<Key, unknown>>>): Key[] {
  return Object.keys(record) as Key[];
}

/** Whether `key` is an own key of `record`, whose type lists all its keys. */
export function hasKey<Key extends string>(record: Readonly<Partial<Record<Key, unknown>>>, key: string): key is Key {
  return Object.hasOwn(record, key);
}
