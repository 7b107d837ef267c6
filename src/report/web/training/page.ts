/** @file The page that trains: its markup and style. It loads only files of its own folder. */
import { type Html, html, pageHead } from '../../html.js';
import { themes } from '../../style.js';
import { tableLegend } from '../page.js';

/** @param name of the model that is trained. @param algorithm its title. @param note a sentence about the reward. */
export function trainingPage(name: string, algorithm: string, note: string): string {
  const page: Html = html`<!doctype html>
<html lang="en">
${pageHead(`Train ${name} · tinyzero`, policy, style)}
<body>
<main>
<p class="note"><a href="./index.html">Ask the model</a></p>
<h1>Train ${name}</h1>
<p id="plan">This page trains the model with ${algorithm} while you watch, with the code of tinyzero train: it measures the model on held-out products, samples answers to the training problems, updates the weights by their rewards, and measures again. ${note}</p>
<form id="controls" autocomplete="off">
<p><label for="engine">Compute with</label> <select id="engine"><option value="auto">graphics card, else WebAssembly</option><option value="webgpu">graphics card (WebGPU)</option><option value="wasm">WebAssembly</option></select></p>
<p><label for="seed">Seed</label> <input id="seed" type="number" min="0" max="9007199254740991" step="1" required></p>
<p class="buttons"><button id="train" disabled>Train</button> <button id="pause" type="button" disabled>Pause</button> <button id="stop" type="button" disabled>Stop</button> <button id="weights" type="button" disabled>Download weights</button></p>
</form>
<p id="state" role="status">Loading the model</p>
<p class="work"><progress id="progress" max="1" value="0" aria-labelledby="work"></progress> <span id="work">Nothing runs yet</span></p>
<p id="used" class="note"></p>
<section id="verdict" aria-labelledby="verdict-title" hidden><h2 id="verdict-title">Verdict</h2><p id="sentence"></p><ul id="notes" class="note"></ul></section>
<div class="columns">
<section aria-labelledby="held-title"><h2 id="held-title">Held-out accuracy</h2>
<table id="accuracy"><thead><tr><td></td><th scope="col">before</th><th scope="col">after</th></tr></thead><tbody><tr><th scope="row">greedy</th><td id="before-greedy">–</td><td id="after-greedy">–</td></tr><tr><th scope="row">sampled</th><td id="before-sampled">–</td><td id="after-sampled">–</td></tr></tbody></table>
</section>
<section aria-labelledby="stage1-title"><h2 id="stage1-title">Stage 1: right answers of each problem</h2>
<p id="samples" class="note">Not sampled yet</p><ul id="histogram"></ul>
</section>
<section aria-labelledby="reward-title"><h2 id="reward-title">Stage 2: mean reward</h2><svg id="reward" viewBox="0 0 320 140" role="img" aria-label="No update yet"></svg><p id="reward-now" class="note">No update yet</p></section>
<section aria-labelledby="loss-title"><h2 id="loss-title">Stage 2: loss</h2><svg id="loss" viewBox="0 0 320 140" role="img" aria-label="No update yet"></svg><p id="loss-now" class="note">No update yet</p></section>
</div>
<section aria-labelledby="rollouts-title"><h2 id="rollouts-title">Newest answers</h2><ul id="rollouts"></ul></section>
<div class="columns tables">
<section aria-labelledby="before-title"><h2 id="before-title">The table before</h2><div id="table-before"></div></section>
<section aria-labelledby="after-title"><h2 id="after-title">The table while training</h2><div id="table-after"></div></section>
</div>
${tableLegend}
</main>
<footer><p>Computed in this page alone: nothing leaves it. Made by tinyzero with TensorFlow.js (Apache-2.0), @huggingface/tokenizers (Apache-2.0), seedrandom (MIT) and valibot (MIT).</p></footer>
<script type="module" src="./train.js"></script>
</body>
</html>
`;
  return page.markup;
}

const policy = [
  ...["default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "worker-src 'self'", "connect-src 'self'"],
  ...["style-src 'unsafe-inline'", 'img-src data:', "base-uri 'none'", "form-action 'none'"],
].join('; ');

const style = `${themes}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 0 clamp(1rem, 4vw, 2.5rem); background: var(--page); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
a { color: var(--accent); }
h1 { margin: .2rem 0 .4rem; font-size: 1.7rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 1.4rem 0 .4rem; font-size: 1.05rem; }
p { overflow-wrap: anywhere; }
#plan { max-width: 75ch; margin: 0 0 .8rem; }
.note, label, footer, #work { color: var(--muted); font-size: .875rem; }
.note { margin: .3rem 0; }
form { display: flex; flex-wrap: wrap; gap: .4rem 1.4rem; align-items: center; }
form p { max-width: 100%; margin: .2rem 0; }
.buttons { display: flex; flex-wrap: wrap; gap: .5rem; }
input, select { max-width: 100%; padding: .4rem .6rem; font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--rule); border-radius: 6px; }
#seed { width: 7rem; }
button { padding: .45rem 1.1rem; font: inherit; color: var(--page); background: var(--accent); border: 1px solid var(--accent); border-radius: 6px; cursor: pointer; }
button[type=button] { color: var(--text); background: var(--panel); border-color: var(--rule); }
button:disabled { opacity: .55; cursor: default; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
#state { margin: .8rem 0 .2rem; font-weight: 600; min-height: 1.5em; }
.work { display: flex; flex-wrap: wrap; gap: .2rem .8rem; align-items: center; margin: .2rem 0; }
progress { width: min(100%, 22rem); height: .7rem; accent-color: var(--accent); }
#verdict { padding: .2rem 1rem .8rem; margin: .8rem 0; background: var(--panel); border: 1px solid var(--line); border-left: 4px solid var(--tone, var(--muted)); border-radius: 6px; }
#verdict h2 { margin-top: .6rem; } #sentence { margin: .2rem 0; font-size: 1.1rem; }
#verdict.learned, #verdict.small { --tone: var(--gain); } #verdict.worse { --tone: var(--loss); }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); gap: 0 2rem; align-items: start; }
.tables { grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
table { border-collapse: collapse; width: 100%; max-width: 26rem; table-layout: fixed; font-size: .8125rem; }
th, td { padding: .15rem 0; text-align: center; font-weight: 400; border: 1px solid var(--line); }
th { color: var(--muted); } caption { padding-bottom: .3rem; text-align: left; color: var(--muted); font-size: .875rem; }
#accuracy td, #accuracy th { padding: .35rem .25rem; font-size: 1rem; } #accuracy small { display: block; color: var(--muted); }
td.held { outline: 2px solid var(--text); outline-offset: -2px; }
.right { color: var(--gain); } .near { color: var(--doubt-color); } .wrong { color: var(--muted); }
td.right { background: color-mix(in srgb, var(--gain) 22%, transparent); }
td.near { background: color-mix(in srgb, var(--doubt-color) 14%, transparent); }
#histogram, #rollouts { margin: 0; padding: 0; list-style: none; }
#histogram li { display: grid; grid-template-columns: 4.5rem 1fr 2.5rem; gap: .5rem; align-items: center; font-size: .8125rem; }
#histogram .bar { display: block; height: .8rem; background: var(--accent); border-radius: 2px; }
#histogram span:last-child { text-align: right; }
svg { display: block; width: 100%; height: auto; max-width: 32rem; }
svg text { font-size: 10px; fill: var(--muted); } svg .axis { stroke: var(--rule); fill: none; } svg .line { stroke: var(--accent); stroke-width: 2; fill: none; } svg .dot { fill: var(--accent); }
#rollouts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); gap: .6rem; }
#rollouts li { padding: .4rem .7rem; background: var(--panel); border: 1px solid var(--line); border-left: 4px solid currentcolor; border-radius: 6px; font-size: .8125rem; }
#rollouts li > * { color: var(--text); margin: 0; }
#rollouts pre { margin: .2rem 0; font: .8125rem/1.45 ui-monospace, Menlo, Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; padding: 0; list-style: none; color: var(--muted); font-size: .875rem; }
footer { margin: 2rem 0; padding-top: .8rem; border-top: 1px solid var(--line); }
`;
