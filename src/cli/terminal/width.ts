/** @file The width of a terminal. Separate from columns.ts, whose packages `--help` need not load. */

/** Width of `stream` in characters; `otherwise` if it is no terminal or reports no size (0 columns). */
export function columnsOf({ columns }: { readonly columns?: number | undefined }, otherwise = 80): number {
  return columns !== undefined && columns > 0 ? columns : otherwise;
}
