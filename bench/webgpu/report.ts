/** @file Prints every measurement as it is made: a line of text, and the same as a line of JSON. */

/** Reports a measurement: what was measured, and its values. */
export type Report = (what: string, values: Readonly<Record<string, unknown>>) => void;

export function openReport(): Report {
  return (what, values) => {
    const seconds = (performance.now() / 1000).toFixed(1);
    const text = Object.entries(values)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : value}`);
    console.log(`${seconds.padStart(6)} s  ${what}: ${text.join(', ')}`);
    console.log(JSON.stringify({ what, seconds: Number(seconds), ...values }));
  };
}
