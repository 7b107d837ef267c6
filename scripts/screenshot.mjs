// Takes the README's screenshot of a report with an installed Chromium (set TINYZERO_CHROMIUM to choose one):
// `npm run screenshot -- runs/a/report.html docs/report.png`. It shows the top of the report in a small window, in the light
// theme; --dark, --width PIXELS and --height PIXELS change that, and --height 0 captures the whole page.
import { mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { openChromium } from '../dist/test/helpers/chromium.js';

const { values, positionals } = parseArgs({
  options: {
    width: { type: 'string', default: '1200' },
    height: { type: 'string', default: '1760' },
    dark: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});
const [report, picture] = positionals;
const [width, height] = [Number(values.width), Number(values.height)];
if (positionals.length !== 2 || !(width > 0) || !(height >= 0)) {
  console.error('Usage: node scripts/screenshot.mjs REPORT.html PICTURE.png [--width 1200] [--height 1760] [--dark]');
  process.exit(2);
}
const browser = await openChromium();
if (browser === undefined) {
  console.error('No Chromium found. Install Chromium or Chrome, or set TINYZERO_CHROMIUM to its path.');
  process.exit(1);
}
try {
  const colorScheme = values.dark ? 'dark' : 'light';
  const page = await browser.newPage({ viewport: { width, height: height || 800 }, colorScheme });
  await page.goto(pathToFileURL(resolve(report)).href);
  mkdirSync(dirname(resolve(picture)), { recursive: true });
  // The browser compresses pictures for speed. With 256 colours, which suffice here, they are a third of the size.
  const taken = sharp(await page.screenshot({ fullPage: height === 0 }));
  const { size } = await taken.png({ palette: true, effort: 10 }).toFile(picture);
  console.log(`${picture}: ${Math.round(size / 1000)} kB`);
} finally {
  await browser.close();
}
