/**
 * @file The page's style: system fonts, two themes and print. The colours are those of Okabe and Ito ("Color Universal
 * Design", 2008), adjusted for contrast, so they are distinguishable with any colour vision. Nothing is shown by colour alone.
 */

/** The two themes as CSS variables; also used by stand-alone pictures. */
export const themes = `
:root {
  color-scheme: light dark;
  --page: #ffffff; --panel: #f6f7f9; --line: #dfe3e8; --grid: #e9ecf0; --rule: #aab2bd;
  --text: #16191d; --muted: #59636f; --accent: #0a63a8; --gain: #0a63a8; --loss: #c2500a; --none: #c2500a;
  --cell: #eef0f3; --ink-mid: #16191d; --doubt-color: #e08214; --hover: rgb(10 99 168 / .10);
  --run-1: #0a63a8; --run-2: #c2500a; --run-3: #00795c; --run-4: #9b3f7c; --run-5: #6b5b00;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #111417; --panel: #1a1e23; --line: #2d333b; --grid: #242a31; --rule: #59636f;
    --text: #e9ecef; --muted: #9da7b3; --accent: #6bb8f5; --gain: #6bb8f5; --loss: #f2975a; --none: #f2975a;
    --cell: #20252b; --ink-mid: #111417; --doubt-color: #d9822b; --hover: rgb(107 184 245 / .14);
    --run-1: #6bb8f5; --run-2: #f2975a; --run-3: #3fc79a; --run-4: #e096c4; --run-5: #d8c04a;
  }
}
`;

export const style = `${themes}* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; scroll-padding-top: 1rem; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body {
  margin: 0 auto; max-width: 76rem; padding: 0 clamp(1rem, 4vw, 2.5rem);
  background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
.skip { position: absolute; left: -100vw; }
.skip:focus { left: 1rem; top: .5rem; z-index: 2; padding: .4rem .8rem; background: var(--page); }
main:focus { outline: none; }
header { display: flex; flex-wrap: wrap; gap: .25rem 2rem; justify-content: space-between; padding: 1.1rem 0 .9rem; border-bottom: 1px solid var(--line); font-size: .875rem; }
header p, header ul { margin: 0; padding: 0; }
header .run span { color: var(--muted); margin-left: .5rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; list-style: none; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: 3px; }
p, h1, h3, li, summary { overflow-wrap: anywhere; }
section { padding: 2.25rem 0 0; }
h1 { margin: .6rem 0 1rem; font-size: clamp(1.5rem, 1.05rem + 1.9vw, 2.15rem); line-height: 1.2; font-weight: 650; letter-spacing: -.015em; text-wrap: balance; }
h1 small { display: block; margin-top: .35rem; font-size: .62em; font-weight: 450; letter-spacing: 0; color: var(--muted); line-height: 1.35; }
h2 { margin: 0 0 .3rem; font-size: 1.3rem; line-height: 1.3; font-weight: 650; letter-spacing: -.01em; }
h3 { margin: 1.4rem 0 .5rem; font-size: 1rem; font-weight: 650; }
.lead { margin: 0 0 1.2rem; max-width: 75ch; }
.verdict .lead { margin-bottom: .6rem; }
.note { margin: .4rem 0 0; max-width: 80ch; color: var(--muted); font-size: .8125rem; line-height: 1.45; }
.verdict .note { font-size: .875rem; }
.key-facts { display: flex; flex-wrap: wrap; gap: .15rem 1.5rem; margin: 0 0 .8rem; padding: 0; list-style: none; color: var(--muted); font-size: .875rem; }
.badge { display: inline-block; margin: 0; padding: .15rem .7rem .2rem; border-radius: 1rem; font-size: .8125rem; font-weight: 650; background: var(--tone, var(--muted)); color: var(--page); }
.learned { --tone: var(--gain); } .worse, .memory, .leak { --tone: var(--loss); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19.5rem), 1fr)); gap: 1.6rem 2rem; align-items: start; }
.split { display: grid; grid-template-columns: minmax(0, 25rem) minmax(0, 1fr); gap: 1.6rem 3rem; align-items: start; }
.verdict { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 25rem); gap: 1.6rem 3.5rem; align-items: center; }
.beside { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 1fr); gap: .6rem 3rem; align-items: start; }
.columns { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 0 3rem; align-items: start; }
@media (max-width: 52rem) { .split, .beside, .columns, .verdict { grid-template-columns: minmax(0, 1fr); } }
figure { margin: 0; min-width: 0; max-width: 30rem; }
figcaption { margin-bottom: .35rem; font-size: .875rem; line-height: 1.35; }
figcaption b { font-weight: 650; }
figcaption span { display: block; color: var(--muted); font-size: .8125rem; }
svg.plot { display: block; width: 100%; height: auto; color: var(--muted); }
svg.plot .hits { cursor: crosshair; }
svg.plot rect.on { fill: var(--hover); stroke: var(--run-2); stroke-width: 2; }
svg.plot circle.on { stroke: var(--text); stroke-width: 2; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: 1rem 0; padding: 0; list-style: none; color: var(--muted); font-size: .8125rem; }
.legend li { display: flex; align-items: center; gap: .45rem; }
.key { flex: none; display: inline-grid; place-items: center; width: 1rem; height: 1rem; border-radius: 2px; background: var(--cell); }
.key.held { box-shadow: inset 0 0 0 2px var(--text); }
.key.ramp { width: 5rem; background: linear-gradient(90deg, var(--cell), var(--accent)); }
.key.few { background: none; } .key.few::before { content: ''; width: .55rem; height: .55rem; border-radius: 2px; background: var(--accent); opacity: .5; }
.key.gain { background: var(--accent); } .key.loss { background: var(--loss); }
.swatch { display: inline-block; width: .7rem; height: .7rem; margin: 0 .35rem 0 .1rem; border-radius: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
th, td { padding: .34rem .9rem .34rem 0; text-align: left; vertical-align: top; font-weight: 400; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--muted); font-size: .8125rem; vertical-align: bottom; }
.numbers td, .numbers thead th { text-align: right; white-space: nowrap; }
.numbers thead th:first-child { text-align: left; }
.numbers .long { white-space: normal; overflow-wrap: anywhere; min-width: 7rem; }
.headline tbody tr:first-child :is(th, td) { font-weight: 650; }
.options th { color: var(--muted); width: 42%; }
.options td { overflow-wrap: anywhere; white-space: pre-wrap; }
.scroll { overflow-x: auto; }
.wide svg.plot { width: auto; max-width: none; }
.said { margin: 0 0 1rem; }
.command { margin: 0 0 .6rem; padding: .9rem 1.1rem; background: var(--panel); border: 1px solid var(--line); border-radius: 6px; font: .8125rem/1.6 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; white-space: normal; overflow-wrap: anywhere; user-select: all; }
.copied { position: relative; }
.to-clipboard { position: absolute; top: .6rem; right: .6rem; padding: .2rem .7rem; border: 1px solid var(--line); border-radius: 5px; background: var(--page); color: var(--accent); font: inherit; font-size: .8125rem; cursor: pointer; }
.copied .command { padding-right: 5.5rem; }
.command span { display: inline-block; margin-right: .5ch; max-width: 100%; }
.example { padding: .2rem 0 1rem; border-bottom: 1px solid var(--line); }
.example h3 { white-space: pre-wrap; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: .8rem 2rem; }
.facts { display: flex; flex-wrap: wrap; gap: .1rem .9rem; margin: 0 0 .35rem; color: var(--muted); font-size: .8125rem; }
.facts b { color: var(--text); } .facts .right { color: var(--gain); } .facts .wrong { color: var(--loss); }
.completion { margin: 0; padding: .7rem .9rem; max-height: 22rem; overflow: auto; background: var(--panel); border: 1px solid var(--line); border-radius: 6px; font: .875rem/1.7 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
.token { padding: .12em 0; border-radius: 2px; background: color-mix(in srgb, var(--doubt-color) calc(var(--doubt) * .75), transparent); box-shadow: 1px 0 var(--panel); }
.tokens-key .token { padding: .12em .5em; margin-right: .3em; color: var(--text); }
.token.on { outline: 2px solid var(--accent); }
details summary { margin: 1rem 0; cursor: pointer; color: var(--accent); font-size: .875rem; }
footer { margin: 2.5rem 0 2rem; padding-top: .9rem; border-top: 1px solid var(--line); color: var(--muted); font-size: .8125rem; }
footer p { margin: 0; }
#tip { position: fixed; z-index: 1; max-width: min(22rem, 92vw); padding: .45rem .65rem; border-radius: 6px; background: var(--text); color: var(--page); font-size: .8125rem; line-height: 1.4; white-space: pre-wrap; overflow-wrap: anywhere; pointer-events: none; }
@media print {
  @page { margin: 14mm; }
  :root { color-scheme: light; font-size: 11px; }
  body { max-width: none; padding: 0; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  nav, #tip, summary, .skip { display: none; }
  h2, h3, .lead, .legend, figcaption { break-after: avoid; }
  .to-clipboard { display: none; }
  #before-after, #stage-1, #problems { break-inside: avoid; }
  .charts { display: block; font-size: 0; }
  .charts figure { display: inline-block; width: 31.5%; margin: 0 2.7% 1.2rem 0; font-size: 1rem; vertical-align: top; }
  .charts figure:nth-child(3n) { margin-right: 0; }
  figure, .example, tr, .pair { break-inside: avoid; }
  .verdict, .beside { grid-template-columns: 1fr 38%; gap: 1.5rem 2rem; }
  .split { grid-template-columns: 42% 1fr; gap: 1.5rem 2rem; }
  .pair, .columns { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .completion { max-height: none; overflow: visible; }
}
`;
