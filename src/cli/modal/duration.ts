/** @file Durations on the command line: `90m`, `8h`, `7200s` or `7200`. */

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Seconds; undefined for anything else than a positive number with a unit. Without a unit, it is seconds. */
export function parseDuration(text: string): number | undefined {
  const [, number, unit = 's'] = /^(\d+(?:\.\d+)?)([smhd])?$/.exec(text.trim()) ?? [];
  const seconds = Math.round(Number(number) * units[unit]!);
  return seconds > 0 ? seconds : undefined;
}

/** `8 h`, `90 min`, `45 s`. */
export function formatDuration(seconds: number): string {
  if (seconds % 3600 === 0) return `${seconds / 3600} h`;
  return seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`;
}
