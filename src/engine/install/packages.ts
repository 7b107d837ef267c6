/**
 * @file Everything that `engine install` can download, pinned by version, size and hash, and which of it fits this machine.
 *
 * Wheels come from the Python package index through the user's pip, npm packages through npm; the hashes are those published
 * by the indexes. The libtensorflow archives are those of tfjs-node's own installer. No checksums are published for them, so
 * these are the values pinned by nixpkgs and graft.
 */
import { Unavailable } from './fetch/unavailable.js';

/** A wheel: a zip archive with TensorFlow's or CUDA's shared libraries in it. */
export interface Wheel {
  readonly project: string;
  readonly version: string;
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Bytes of the unpacked files. */
  readonly unpackedBytes: number;
}

export type Variant = 'cpu' | 'gpu';

export const tensorflowVersion = '2.21.0';

/** TensorFlow's wheel for a platform and variant, e.g. `linux-x64-cpu`. */
const tensorflowWheels: Readonly<Record<string, Wheel>> = {
  'linux-x64-cpu': {
    project: 'tensorflow_cpu',
    version: tensorflowVersion,
    file: 'tensorflow_cpu-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl',
    bytes: 273_829_956,
    sha256: '2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c',
    unpackedBytes: 856_000_000,
  },
  'linux-x64-gpu': {
    project: 'tensorflow',
    version: tensorflowVersion,
    file: 'tensorflow-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl',
    bytes: 572_440_367,
    sha256: '9056fbc9ba04235810b71ae6cbd958a196e8804fb53bbcffbf3e23b56155f124',
    unpackedBytes: 1_262_000_000,
  },
  'linux-arm64-cpu': {
    project: 'tensorflow',
    version: tensorflowVersion,
    file: 'tensorflow-2.21.0-cp311-cp311-manylinux_2_27_aarch64.whl',
    bytes: 281_828_020,
    sha256: '4b24aca16d527a3cf1c37f720c04c484c3d20f4d0fdfa98632ac8b9f3be6eb5c',
    unpackedBytes: 886_000_000,
  },
  'darwin-arm64-cpu': {
    project: 'tensorflow',
    version: tensorflowVersion,
    file: 'tensorflow-2.21.0-cp311-cp311-macosx_12_0_arm64.whl',
    bytes: 223_405_849,
    sha256: '51f46f4806139d01fc7920cc72a4c75876f80649bf40ff083ab6212ceb43ca88',
    unpackedBytes: 744_000_000,
  },
};

/** The dependencies of `tensorflow[and-cuda]` 2.21.0: CUDA 12.9, cuDNN 9, NCCL 2, for Linux x86-64. */
const cudaWheels: readonly Wheel[] = [
  {
    project: 'nvidia-cublas-cu12',
    version: '12.9.3.13',
    file: 'nvidia_cublas_cu12-12.9.3.13-py3-none-manylinux_2_27_x86_64.whl',
    bytes: 581_217_458,
    sha256: 'd7d51055f161b317c7105ddaae90e71eda059026074ffef93cf7cde2886bfe72',
    unpackedBytes: 855_126_924,
  },
  {
    project: 'nvidia-cuda-cupti-cu12',
    version: '12.8.90',
    file: 'nvidia_cuda_cupti_cu12-12.8.90-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl',
    bytes: 10_248_621,
    sha256: 'ea0cb07ebda26bb9b29ba82cda34849e73c166c18162d3913575b0c9db9a6182',
    unpackedBytes: 41_378_248,
  },
  {
    project: 'nvidia-cuda-nvcc-cu12',
    version: '12.9.86',
    file: 'nvidia_cuda_nvcc_cu12-12.9.86-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl',
    bytes: 40_546_229,
    sha256: '5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0',
    unpackedBytes: 98_063_353,
  },
  {
    project: 'nvidia-cuda-nvrtc-cu12',
    version: '12.9.86',
    file: 'nvidia_cuda_nvrtc_cu12-12.9.86-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl',
    bytes: 89_568_129,
    sha256: '210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4',
    unpackedBytes: 227_403_107,
  },
  {
    project: 'nvidia-cuda-runtime-cu12',
    version: '12.9.79',
    file: 'nvidia_cuda_runtime_cu12-12.9.79-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl',
    bytes: 3_493_179,
    sha256: '25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3',
    unpackedBytes: 5_414_289,
  },
  {
    project: 'nvidia-cudnn-cu12',
    version: '9.28.0.42',
    file: 'nvidia_cudnn_cu12-9.28.0.42-py3-none-manylinux_2_27_x86_64.whl',
    bytes: 716_538_495,
    sha256: '9ff58b7f36dacd0a93e89f8f2957b52466889217963701daa15e577317cfa375',
    unpackedBytes: 1_162_416_784,
  },
  {
    project: 'nvidia-cufft-cu12',
    version: '11.4.1.4',
    file: 'nvidia_cufft_cu12-11.4.1.4-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl',
    bytes: 200_877_592,
    sha256: 'c67884f2a7d276b4b80eb56a79322a95df592ae5e765cf1243693365ccab4e28',
    unpackedBytes: 293_671_593,
  },
  {
    project: 'nvidia-curand-cu12',
    version: '10.3.10.19',
    file: 'nvidia_curand_cu12-10.3.10.19-py3-none-manylinux_2_27_x86_64.whl',
    bytes: 68_295_626,
    sha256: '49b274db4780d421bd2ccd362e1415c13887c53c214f0d4b761752b8f9f6aa1e',
    unpackedBytes: 167_029_038,
  },
  {
    project: 'nvidia-cusolver-cu12',
    version: '11.7.5.82',
    file: 'nvidia_cusolver_cu12-11.7.5.82-py3-none-manylinux_2_27_x86_64.whl',
    bytes: 338_117_415,
    sha256: '15da72d1340d29b5b3cf3fd100e3cd53421dde36002eda6ed93811af63c40d88',
    unpackedBytes: 495_037_563,
  },
  {
    project: 'nvidia-cusparse-cu12',
    version: '12.5.10.65',
    file: 'nvidia_cusparse_cu12-12.5.10.65-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl',
    bytes: 366_465_088,
    sha256: '73060ce019ac064a057267c585bf1fd5a353734151f87472ff02b2c5c9984e78',
    unpackedBytes: 486_618_332,
  },
  {
    project: 'nvidia-nccl-cu12',
    version: '2.32.3',
    file: 'nvidia_nccl_cu12-2.32.3-py3-none-manylinux_2_27_x86_64.whl',
    bytes: 351_526_311,
    sha256: 'bb94b2348e4861d5e8aa00b36c3d12d9bdf9c6369b82cbb723de0b582280a21c',
    unpackedBytes: 489_666_191,
  },
  {
    project: 'nvidia-nvjitlink-cu12',
    version: '12.9.86',
    file: 'nvidia_nvjitlink_cu12-12.9.86-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl',
    bytes: 39_748_338,
    sha256: 'e3f1171dbdc83c5932a45f0f4c99180a70de9bd2718c1ab77d14104f6d7147f9',
    unpackedBytes: 95_997_150,
  },
];

/** An npm package, fetched with `npm pack`; `integrity` as in a lock file. */
export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  readonly integrity: string;
}

/** The binding's C++ sources and JavaScript. Its version must equal that of the other tfjs packages. */
export const bindingPackage: NpmPackage = {
  name: '@tensorflow/tfjs-node-gpu',
  version: '4.22.0',
  integrity: 'sha512-p//NN6DGiN4hInUmIkRffaFVMcdTREUMjPyjW04J7OXvB2zBlQimj61eFKSgRrH3f5TnOfKzb0n56he/B6a4bw==',
};

/** SHA-256 over the files used from `bindingPackage`; see `filesDigest` in binding-package.ts. */
export const bindingFilesDigest = '6c29ae9d8cf71e81d2b7828e323b2045b2fd76ae08a212d869b703f667b4c056';

/** Node's C headers, for Node installations without them. Node-API is stable across Node versions. */
export const headersPackage: NpmPackage = {
  name: 'node-api-headers',
  version: '1.9.0',
  integrity: 'sha512-2oNILP4jXwRB4ywnYKjVk1YyJ96n2D4EOVJO6S3oYZ5PtbJrw3Yt9TpAuX3nBLMuzn74rnfGQrv13pS9vC+YiA==',
};

/** A libtensorflow archive of tfjs-node's own installer; `path` is below its storage server. */
interface OfficialLibrary {
  readonly path: string;
  readonly tensorflow: string;
  readonly sha256: string;
  /** Approximate; the server sends the exact length. */
  readonly bytes: number;
  readonly unpackedBytes: number;
}

const officialLibraries: Readonly<Record<string, OfficialLibrary>> = {
  'linux-x64-cpu': {
    path: 'tensorflow/libtensorflow/libtensorflow-cpu-linux-x86_64-2.9.1.tar.gz',
    tensorflow: '2.9.1',
    sha256: '7f510d2546e3db5e10b1d119463689003d587842892ad3c95bca51cf82820173',
    bytes: 120_000_000,
    unpackedBytes: 460_000_000,
  },
  'linux-x64-gpu': {
    path: 'tensorflow/libtensorflow/libtensorflow-gpu-linux-x86_64-2.9.1.tar.gz',
    tensorflow: '2.9.1',
    sha256: '20c46f761d5905f592c4eac0812e8e50d9cb439f9440a9391912cf4c02ed8be8',
    bytes: 400_000_000,
    unpackedBytes: 1_300_000_000,
  },
  'linux-arm64-cpu': {
    path: 'tf-builds/libtensorflow_r2_7_linux_arm64.tar.gz',
    tensorflow: '2.7.0',
    sha256: '9395d1ff39f5b6847f5121e679ff4e599dc7061a2a7f87ceac061c78e908e6e3',
    bytes: 120_000_000,
    unpackedBytes: 460_000_000,
  },
  'darwin-x64-cpu': {
    path: 'tensorflow/libtensorflow/libtensorflow-cpu-darwin-x86_64-2.9.1.tar.gz',
    tensorflow: '2.9.1',
    sha256: '56f83d3320ba0f69aaafd6c058645e1b7fbc75fb9a3fc36d6be98de1291ca226',
    bytes: 120_000_000,
    unpackedBytes: 460_000_000,
  },
  'darwin-arm64-cpu': {
    path: 'tf-builds/libtensorflow_r2_7_darwin_arm64_cpu.tar.gz',
    tensorflow: '2.7.0',
    sha256: '13ab22b97e2af06e431aaeb7b42fb89981965dd01aa16da035d8210aa4183d79',
    bytes: 60_000_000,
    unpackedBytes: 300_000_000,
  },
};

/** Everything the sources may fetch; tests pass a smaller one. */
export interface Catalog {
  readonly tensorflowWheels: Readonly<Record<string, Wheel>>;
  readonly cudaWheels: readonly Wheel[];
  readonly officialLibraries: Readonly<Record<string, OfficialLibrary>>;
}

export const catalog: Catalog = { tensorflowWheels, cudaWheels, officialLibraries };

/** The properties of a machine that decide which packages fit it. */
export interface Platform {
  readonly platform: string;
  readonly arch: string;
  /** Version of the GNU C library, `null` on Linux without it (Alpine's musl), undefined elsewhere. */
  readonly glibc?: string | null;
}

export function thisPlatform(): Platform {
  const { platform, arch } = process;
  return platform === 'linux' ? { platform, arch, glibc: glibcVersion() } : { platform, arch };
}

/** TensorFlow 2.21's wheels are tagged manylinux_2_27. */
const wheelGlibc = [2, 27] as const;
/** libtensorflow 2.9 was built on Ubuntu 16.04. */
const officialGlibc = [2, 23] as const;

/** TensorFlow's wheel for this machine. */
export function chooseWheel(wheels: Readonly<Record<string, Wheel>>, machine: Platform, variant: Variant): Wheel {
  const wheel = wheels[`${machine.platform}-${machine.arch}-${variant}`];
  if (wheel === undefined) {
    throw new Unavailable(
      'unsupported-platform',
      `TensorFlow has no ${variant === 'gpu' ? 'CUDA ' : ''}wheel for ${machine.platform} ${machine.arch}.`,
    );
  }
  requireGlibc(machine, wheelGlibc, "TensorFlow's wheel");
  return wheel;
}

/** Throws if this Linux has no glibc or one older than `needed`. */
function requireGlibc(machine: Platform, needed: readonly [number, number], what: string): void {
  if (machine.platform !== 'linux') return;
  if (machine.glibc === null || machine.glibc === undefined) {
    throw new Unavailable(
      'unsupported-platform',
      `${what} needs the GNU C library, but this Linux uses a different one.`,
    );
  }
  const [major = 0, minor = 0] = machine.glibc.split('.').map(Number);
  if (major < needed[0] || (major === needed[0] && minor < needed[1])) {
    throw new Unavailable(
      'unsupported-platform',
      `${what} needs glibc ${needed.join('.')} or newer, but this system has ${machine.glibc}.`,
    );
  }
}

export function requireOfficialGlibc(machine: Platform): void {
  requireGlibc(machine, officialGlibc, 'libtensorflow');
}

/** Reads the version from Node's report, which names the C library in use. */
function glibcVersion(): string | null {
  // Otherwise the report looks up host names, which may take seconds.
  const reporter: NodeJS.ProcessReport & { excludeNetwork?: boolean } = process.report;
  const before = reporter.excludeNetwork;
  reporter.excludeNetwork = true;
  const report = reporter.getReport() as { header?: { glibcVersionRuntime?: string } };
  reporter.excludeNetwork = before;
  return report.header?.glibcVersionRuntime ?? null;
}
