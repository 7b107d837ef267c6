/** @file Describes the memory and disk space that a run needs, and rejects a run that cannot fit. */
import type { Parts } from '../run/memory-plan.js';
import type { Needs } from '../run/needs.js';
import { UserError } from '../util/errors.js';
import { formatBytes } from '../util/format.js';

export function describeNeeds({ memory, disk, device, processes = 1, available }: Needs): string[] {
  const parts = (bytes: Parts) =>
    Object.entries(bytes).map(([what, size]) => `    ${formatBytes(size).padStart(7)}  ${what}`);
  const limit =
    available.memory === undefined ? "the GPU's size is unknown" : `${formatBytes(available.memory)} available`;
  const alone = { cpu: 'this machine', gpu: 'the GPU', wasm: 'the wasm engine' }[device];
  const where = processes === 1 ? alone : `each of ${processes} processes`;
  return [
    ...memory.flatMap(({ stage, bytes, parts: needed }) => [
      `Memory of ${where} while ${stage}: about ${formatBytes(bytes)} (${limit})`,
      ...parts(needed),
    ]),
    `Disk: ${formatBytes(disk.bytes)} (${formatBytes(available.disk)} free)`,
    ...parts(disk.parts),
  ];
}

/** @param fix what to change. @throws UserError when a run cannot fit. */
export function requireFit({ shortfalls }: Needs, fix: string): void {
  if (shortfalls.length === 0) return;
  const needs = shortfalls.map(
    ({ what, needed, available }) => `${what}: ${formatBytes(needed)} needed, ${formatBytes(available)} available`,
  );
  throw new UserError({ problem: `This run does not fit on this machine. ${needs.join('; ')}.`, fix });
}
