/**
 * @file What the charts use of Observable Plot and linkedom. In `dist`, scripts/bundle.mjs replaces this file by one with all that it
 * imports: 300 modules one by one take five times as long to load.
 */
export type { LineYOptions, Markish, PlotOptions, ScaleOptions } from '@observablehq/plot';
export { barX, barY, cell, dot, line, lineY, link, plot, rect, ruleX, ruleY, text, windowY } from '@observablehq/plot';
export { parseHTML } from 'linkedom';
