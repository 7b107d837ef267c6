/**
 * @file WebGPU in Node: Dawn, the implementation of Chromium, through the optional npm package `webgpu` (0.6).
 *
 * Programs return values synchronously, and WebGPU gives them through promises. Dawn delivers its events in a function that
 * it schedules with `setImmediate` (AsyncRunner.cpp in Dawn's `src/dawn/node/binding`). This file captures that function
 * once, when the device is requested, and calls it until a buffer is mapped.
 */
import { fileURLToPath, pathToFileURL } from 'node:url';
import { UserError, type UserErrorParts } from '../../util/errors.js';
import { run } from '../../util/process.js';
import { findPackage } from '../packages.js';
import type { AdapterFacts } from './device.js';
import { adapterFacts, deviceDescriptor, openDevice, type WebGpuDevice } from './device.js';

interface DawnModule {
  create(options: readonly string[]): GPU;
  readonly globals: Readonly<Record<string, unknown>>;
}

/** The packages that the engine needs. */
const webGpuPackages = ['webgpu', '@tensorflow/tfjs-backend-webgpu'] as const;

/** Packages of {@link webGpuPackages} that are not installed. */
export function missingPackages(): string[] {
  return webGpuPackages.filter((name) => findPackage(name) === undefined);
}

/** Opens the adapter that the system prefers. @throws UserError if there is none, or a package is missing. */
export async function openDawn(): Promise<WebGpuDevice> {
  const adapter = await openAdapter();
  const { result, scheduled } = catchScheduled(() => adapter.requestDevice(deviceDescriptor(adapter)));
  if (scheduled === undefined)
    throw new Error('the package webgpu delivers its events in an unknown way; use version 0.6');
  return openDevice(await result, adapterFacts(adapter), (isDone) => waitUntil(isDone, scheduled));
}

/** @throws UserError if there is no adapter, or a package is missing. */
export async function openAdapter(): Promise<GPUAdapter> {
  const gpu = await loadDawn();
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (adapter !== null) return adapter;
  throw new UserError({
    problem: 'WebGPU found no graphics card.',
    expected: 'a card with a current Vulkan (Linux), Direct3D 12 (Windows) or Metal (macOS) driver',
    fix: 'Install the driver (on Linux also the Vulkan loader, `libvulkan1`), or use `--engine auto`.',
  });
}

function packagesNeeded(missing: readonly string[]): UserErrorParts {
  return {
    problem: `The webgpu engine needs ${missing.length === 1 ? 'a package that is' : 'packages that are'} not installed.`,
    fix: `Install with \`npm install ${missing.join(' ')}\`, or use \`--engine auto\`.`,
  };
}

let loaded: Promise<GPU> | undefined;

/** Loads Dawn once per process. The GPU must stay alive: Dawn stops delivering events when it is collected. */
function loadDawn(): Promise<GPU> {
  loaded ??= (async () => {
    const missing = missingPackages();
    if (missing.length > 0) throw new UserError(packagesNeeded(missing));
    const { create, globals } = (await import(pathToFileURL(findPackage('webgpu')!).href)) as DawnModule;
    // Classes and constants, such as GPUBufferUsage, which browsers have as globals.
    for (const [name, value] of Object.entries(globals)) {
      if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
    return create([]);
  })();
  return loaded;
}

/** Calls `body` and captures the function that it passes to `setImmediate`, which still schedules it. */
function catchScheduled<Result>(body: () => Result): { result: Result; scheduled: (() => void) | undefined } {
  let scheduled: (() => void) | undefined;
  const { setImmediate } = globalThis;
  try {
    Object.assign(globalThis, {
      setImmediate: (callback: () => void) => {
        scheduled = callback;
        return setImmediate(callback);
      },
    });
    return { result: body(), scheduled };
  } finally {
    Object.assign(globalThis, { setImmediate });
  }
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** Calls `processEvents` until `isDone`; sleeps between calls once it takes longer than most kernels. */
function waitUntil(isDone: () => boolean, processEvents: () => void): void {
  const { setImmediate } = globalThis;
  let again: (() => void) | undefined;
  try {
    // While events are outstanding, Dawn schedules itself in every call. Once is enough, after the wait.
    Object.assign(globalThis, {
      setImmediate: (callback: () => void) => {
        again = callback;
      },
    });
    for (let turn = 0; !isDone(); turn += 1) {
      processEvents();
      if (turn > 200) Atomics.wait(sleeper, 0, 0, 0.1);
    }
  } finally {
    Object.assign(globalThis, { setImmediate });
    if (again !== undefined) setImmediate(again);
  }
}

/** The adapter, or why there is none. */
export type WebGpuProbe =
  | { readonly adapter: AdapterFacts; readonly missing?: undefined }
  | { readonly adapter?: undefined; readonly missing: UserErrorParts };

/**
 * Looks for a WebGPU adapter in a separate process. A driver may print or crash, which must not disturb a command that only
 * chooses an engine.
 */
export async function probeWebGpu(signal?: AbortSignal): Promise<WebGpuProbe> {
  const missing = missingPackages();
  if (missing.length > 0) return { missing: packagesNeeded(missing) };
  const child = fileURLToPath(new URL('./probe-child.js', import.meta.url));
  const { stdout, stderr, code } = await run(process.execPath, [child], { ...(signal && { signal }) });
  const line = stdout.split('\n').find((text) => text.startsWith('{'));
  if (code === 0 && line !== undefined) return JSON.parse(line) as WebGpuProbe;
  return {
    missing: {
      problem: `The driver of the graphics card failed: ${stderr.trim().split('\n').at(-1) || `exit code ${code}`}.`,
      fix: 'Update the driver, or use `--engine auto`.',
    },
  };
}
