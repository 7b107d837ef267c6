/**
 * @file Runs in a separate process with paths of shared libraries as its arguments. Opens each; the first that fails is named on
 * standard error, with the loader's reason, and ends the process with exit code 1.
 */

for (const path of process.argv.slice(2)) {
  try {
    process.dlopen({ exports: {} }, path);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // A library that opened, and is no addon of Node.
    if (/did not self-register/.test(message)) continue;
    process.stderr.write(`${message.split('\n')[0]}\n`);
    process.exit(1);
  }
}
