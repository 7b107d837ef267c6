/** @file The width of a terminal. */

/** Characters in a line of `stream`; `otherwise` where there is no terminal or it reports no size (0 columns). */
export function columnsOf({ columns }: { readonly columns?: number | undefined }, otherwise = 80): number {
  return columns !== undefined && columns > 0 ? columns : otherwise;
}
