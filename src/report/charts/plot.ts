/**
 * @file The parts of Observable Plot and linkedom that the charts use. In `dist`, scripts/bundle.mjs replaces this file
 * with a bundle of everything that it imports: loading the 300 modules separately takes five times as long.
 */
export type { LineYOptions, Markish, PlotOptions, ScaleOptions } from '@observablehq/plot';
export { barX, barY, cell, dot, line, lineY, link, plot, rect, ruleX, ruleY, text, windowY } from '@observablehq/plot';
export { parseHTML } from 'linkedom';
