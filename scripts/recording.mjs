// Makes the README's terminal recording: runs `tinyzero train --num-train 500 --epochs 3` and writes its output, each line at its
// time, as an animated SVG without scripts: `npm run recording`, or `node scripts/recording.mjs FILE.svg`.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fitted } from '../dist/src/cli/terminal/columns.js';

const [picture] = process.argv.slice(2);
if (picture === undefined) {
  console.error('Usage: node scripts/recording.mjs FILE.svg');
  process.exit(2);
}
const columns = 100;
const args = ['train', '--num-train', '500', '--epochs', '3', '--out', 'runs/mine'];
const cli = fileURLToPath(new URL('../dist/src/cli.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'tinyzero-recording-'));

/** Every line with its time in seconds. */
const lines = await new Promise((resolve, reject) => {
  const child = spawn(process.execPath, [cli, ...args], {
    cwd: folder,
    env: { ...process.env, FORCE_COLOR: '1', COLUMNS: `${columns}` },
  });
  const startMs = performance.now();
  const found = [];
  const listen = (stream) => {
    let rest = '';
    stream.setEncoding('utf8').on('data', (text) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop();
      for (const line of parts) found.push({ seconds: (performance.now() - startMs) / 1000, line });
    });
  };
  listen(child.stdout);
  listen(child.stderr);
  child.on('error', reject);
  child.on('close', (code) => (code === 0 ? resolve(found) : reject(new Error(`exit code ${code}`))));
}).finally(() => rmSync(folder, { recursive: true, force: true }));

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
const classes = { 1: 'b', 2: 'f', 31: 'r', 32: 'g', 33: 'y' };

/** A line's colours as `<tspan>`s. */
function spans(line) {
  let name = '';
  return line
    .split(new RegExp(`${'\u001b'}\\[(\\d+)m`))
    .map((part, i) => {
      if (i % 2 === 1) {
        name = classes[part] ?? '';
        return '';
      }
      return part === '' ? '' : name === '' ? escaped(part) : `<tspan class="${name}">${escaped(part)}</tspan>`;
    })
    .join('');
}

// Printed commands depend on where the recording was made; show readers `npx tinyzero`.
const shown = [{ seconds: 0, line: `$ npx tinyzero ${args.join(' ')}` }, ...lines].flatMap(({ seconds, line }) =>
  fitted(line.replaceAll(`node ${cli}`, 'npx tinyzero'), { isTTY: true, columns })
    .split('\n')
    .map((part) => ({ seconds, line: part })),
);
const [lineHeight, charWidth, pad] = [19, 7.85, 18];
const [width, height] = [columns * charWidth + 2 * pad, shown.length * lineHeight + 2 * pad];
const texts = shown.map(
  ({ seconds, line }, i) =>
    `<text x="${pad}" y="${pad + 13 + i * lineHeight}" style="animation-delay:${seconds.toFixed(2)}s">${spans(line)}</text>`,
);
const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${Math.ceil(width)} ${height}" width="${Math.ceil(width)}" height="${height}" role="img" aria-label="The output of tinyzero train, line by line">
<style>
text { font: 13px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #d7dde4; white-space: pre; animation: show .01s both; }
.b { font-weight: 700; } .f { opacity: .65; } .r { fill: #f2975a; } .g { fill: #5fd39a; } .y { fill: #e6c35c; }
@keyframes show { from { visibility: hidden; } to { visibility: visible; } }
@media (prefers-reduced-motion: reduce) { text { animation: none; } }
</style>
<rect width="100%" height="100%" rx="10" fill="#14181d"/>
${texts.join('\n')}
</svg>
`;
writeFileSync(picture, svg);
console.log(`${picture}: ${shown.length} lines, ${Math.round(svg.length / 1000)} kB`);
