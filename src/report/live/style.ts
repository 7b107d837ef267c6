/** @file Styles of the parts of the live page that a report lacks. */
export const liveStyle = `
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.controls { order: 3; }
.controls button { padding: .15rem .8rem; border: 1px solid var(--line); border-radius: 5px; background: var(--page); color: var(--accent); font: inherit; cursor: pointer; }
.controls button[aria-pressed="true"] { background: var(--accent); color: var(--page); border-color: var(--accent); }
#notice { margin: 1rem 0 0; padding: .6rem 1rem; border-radius: 6px; background: var(--panel); border: 1px solid var(--line); font-size: .875rem; }
.live.running { --tone: var(--accent); }
.live.running .badge span { animation: pulse 2s ease-in-out infinite; }
@keyframes pulse { 50% { opacity: .35; } }
.live { align-items: start; }
.phases { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 8.5rem), 1fr)); gap: .6rem 1.2rem; margin: 0 0 1.2rem; padding: 0; list-style: none; font-size: .8125rem; line-height: 1.35; }
.phases li { position: relative; padding: .5rem 0 0 1.25rem; border-top: 2px solid var(--line); color: var(--muted); }
.phases .sign { position: absolute; left: 0; }
.phases b { display: block; font-weight: 600; }
.phases .done { border-color: var(--accent); }
.phases .done .sign, .phases .now .sign { color: var(--accent); }
.phases .now { border-color: var(--accent); }
.phases .now b { color: var(--text); }
progress { display: block; width: 100%; height: .4rem; margin-top: .4rem; border: 0; border-radius: 1rem; overflow: hidden; background: var(--line); accent-color: var(--accent); appearance: none; }
progress::-webkit-progress-bar { background: var(--line); }
progress::-webkit-progress-value { background: var(--accent); border-radius: 1rem; transition: width .6s; }
progress::-moz-progress-bar { background: var(--accent); }
progress:indeterminate { background: linear-gradient(90deg, var(--line) 30%, var(--accent), var(--line) 70%) 0 0 / 200% 100%; animation: slide 1.8s linear infinite; }
progress:indeterminate::-webkit-progress-bar { background: transparent; }
@keyframes slide { from { background-position: 100% 0; } to { background-position: -100% 0; } }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 8.5rem), 1fr)); gap: .8rem 1.2rem; margin: 0 0 1rem; }
.tiles dt { color: var(--muted); font-size: .8125rem; }
.tiles dd { margin: 0; }
.tiles b { display: block; font-size: 1.45rem; line-height: 1.25; font-weight: 650; letter-spacing: -.01em; }
.tiles span { color: var(--muted); font-size: .8125rem; }
.watched { margin: 0 0 1.4rem; padding: 0; list-style: none; font-size: .875rem; }
.watched li { display: grid; grid-template-columns: minmax(0, max-content) 1fr; gap: 0 .7rem; align-items: center; padding: .45rem 0; border-bottom: 1px solid var(--line); }
.watched li:has(> svg) { grid-template-columns: auto minmax(0, max-content) 1fr; }
.watched b { overflow-wrap: anywhere; }
.watched li > span { color: var(--muted); text-align: right; }
.watched progress { grid-column: 1 / -1; }
.rollouts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19.5rem), 1fr)); gap: 1.2rem 1.6rem; margin: 0; padding: 0; list-style: none; }
.rollouts li { display: flex; flex-direction: column; min-width: 0; padding-left: .8rem; border-left: 3px solid var(--muted); }
.rollouts .up { border-color: var(--gain); } .rollouts .down { border-color: var(--loss); }
.asked { display: flex; gap: .2rem 1rem; justify-content: space-between; margin: 0 0 .35rem; font-size: .875rem; }
.asked b { white-space: pre-wrap; } .asked span { flex: none; color: var(--muted); font-size: .8125rem; }
.rollouts .completion { flex: 1; max-height: 11rem; }
.rollouts .facts { margin: .4rem 0 0; }
.reward { padding: 0 .45rem; border-radius: 3px; color: var(--text); background: color-mix(in srgb, color-mix(in srgb, var(--gain) var(--reward), var(--loss)) 22%, transparent); }
.up .effect { color: var(--gain); } .down .effect { color: var(--loss); }
@media (prefers-reduced-motion: reduce) { .live *, progress, progress::-webkit-progress-value { animation: none !important; transition: none !important; } }
`;
