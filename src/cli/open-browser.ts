/** @file Opens a file or an address in the default browser. */

/** Does not wait for the browser; returns false if there is none. */
export async function openInBrowser(target: string): Promise<boolean> {
  const { DISPLAY, WAYLAND_DISPLAY, WSL_DISTRO_NAME } = process.env;
  // Do not start a text browser, which would take over the terminal.
  if (process.platform === 'linux' && !(DISPLAY || WAYLAND_DISPLAY || WSL_DISTRO_NAME)) return false;
  try {
    const { default: open } = await import('open');
    await open(target);
    return true;
  } catch {
    return false; // for whatever reason; it can still be opened by hand
  }
}
