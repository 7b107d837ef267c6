/**
 * @file Modal on loopback: the calls of its protocol that tinyzero uses, over gRPC and with the SDK's own messages. Sandboxes are real
 * processes of this machine: a volume is a folder, an image a folder whose programs come first on the PATH, a GPU a word. What an
 * image's Dockerfile says is kept, not done. Tests switch faults on.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryFolder } from '../files.js';
import { type GrpcServer, grpc, ModalClientDefinition, only, TaskCommandRouterDefinition } from './definitions.js';
import { type KeptProcess, startProcess } from './process.js';

/** Codes of gRPC. */
export const codes = { notFound: 5, alreadyExists: 6, exhausted: 8, unauthenticated: 16 };

interface Faults {
  /** The token is not known. */
  refuseToken?: boolean;
  /** Building an image fails with this. */
  build?: string;
  /** A sandbox with a GPU is refused with this code. */
  noGpu?: number;
  /** Answers a program of a sandbox with this output and exit code instead of running it. */
  answer?: (command: readonly string[]) => { code: number; text: string } | undefined;
}

interface TestSandbox {
  readonly id: string;
  readonly taskId: string;
  readonly name: string;
  readonly tags: readonly { tagName: string; tagValue: string }[];
  readonly gpu: string;
  readonly image: string;
  readonly mounts: readonly { volumeId: string; mountPath: string }[];
  readonly env: NodeJS.ProcessEnv;
  readonly workdir: string;
  readonly timeoutSecs: number;
  main?: KeptProcess;
  execs: KeptProcess[];
  /** Once it has ended. */
  result?: { status: number; exitcode: number; exception: string };
  over: Promise<void>;
}

export interface TestModal {
  readonly url: string;
  /** Of the SDK, for a process that uses this server. */
  readonly env: Record<string, string>;
  readonly faults: Faults;
  readonly sandboxes: TestSandbox[];
  /** Dockerfile commands of built images, by image. */
  readonly built: Map<string, string[]>;
  /** Named images. */
  readonly named: Map<string, string>;
  /** Programs that were run in sandboxes, besides their own. */
  readonly executed: string[][];
  /** Folder of a volume. */
  volume(name: string): string;
  /** Folder of an image. */
  image(id: string): string;
  /** Holds the program of a running sandbox still, until the returned function is called. */
  hold(name: string): () => void;
  /** Ends a running sandbox as its timeout does. */
  expire(name: string): void;
  /** Cuts all connections, and answers again after so many milliseconds. */
  cut(ms: number): Promise<void>;
}

const status = { success: 1, failure: 2, terminated: 3, timeout: 4 };

const timedOut = { status: status.timeout, exitcode: 0, exception: 'timeout' };

/** Starts the server; it ends, with all its processes, with the test. @param programs of every image, as shell scripts. */
export async function startModal(t: TestContext, programs: Readonly<Record<string, string>> = {}): Promise<TestModal> {
  const folder = temporaryFolder(t);
  const sandboxes: TestSandbox[] = [];
  const faults: Faults = {};
  const built = new Map<string, string[]>();
  const named = new Map<string, string>();
  const volumes = new Map<string, string>();
  const ephemeral = new Map<string, Record<string, string>>();
  const executed: string[][] = [];
  const execs = new Map<string, KeptProcess>();
  const stdinDone = new Map<string, number>();
  let url = '';

  const fail = (code: number, details: string): never => {
    throw new grpc.ServerError(code, details);
  };
  const inFolder = (...parts: string[]) => {
    const path = join(folder, ...parts);
    mkdirSync(path, { recursive: true });
    return path;
  };
  const byId = (id: string) => sandboxes.find((each) => each.id === id) ?? fail(codes.notFound, `no sandbox ${id}`);
  const byTask = (id: string) => sandboxes.find((each) => each.taskId === id) ?? fail(codes.notFound, `no task ${id}`);
  const isOver = ({ result }: TestSandbox) => result !== undefined;

  /** A path of the sandbox as one of this machine. */
  const mapped = ({ mounts, image }: Pick<TestSandbox, 'mounts' | 'image'>, path: string) => {
    const mount = mounts.find(({ mountPath }) => path === mountPath || path.startsWith(`${mountPath}/`));
    if (mount === undefined) return inFolder('images', image, path);
    return inFolder('volumes', mount.volumeId, path.slice(mount.mountPath.length));
  };
  const start = (sandbox: TestSandbox, command: readonly string[], workdir?: string): KeptProcess => {
    const answer = faults.answer?.(command);
    const run =
      answer === undefined ? command : ['sh', '-c', `printf '%s\\n' "$1"; exit ${answer.code}`, 'sh', answer.text];
    const bin = join(folder, 'images', sandbox.image, 'bin');
    return startProcess(run, {
      cwd: mapped(sandbox, workdir || sandbox.workdir || '/'),
      env: {
        ...process.env,
        ...{ NODE_TEST_CONTEXT: undefined, TEST_IMAGE: join(folder, 'images', sandbox.image) },
        ...sandbox.env,
        PATH: `${bin}${delimiter}${process.env.PATH}`,
      },
    });
  };
  const end = (sandbox: TestSandbox, result: NonNullable<TestSandbox['result']>) => {
    if (isOver(sandbox)) return;
    sandbox.result = result;
    for (const each of [sandbox.main, ...sandbox.execs]) each?.kill('SIGKILL');
  };

  const create = (
    definition: SandboxDefinition,
    tags: TestSandbox['tags'],
    env: Record<string, string>,
    id: string,
  ) => {
    const { name = '', entrypointArgs, timeoutSecs, workdir = '', imageId, volumeMounts, resources } = definition;
    if (name !== '' && sandboxes.some((each) => each.name === name && !isOver(each)))
      fail(codes.alreadyExists, `Sandbox with name '${name}' already exists`);
    const gpu = resources?.gpuConfig?.gpuType ?? '';
    if (gpu !== '' && faults.noGpu !== undefined) fail(faults.noGpu, `workspace limit for ${gpu} reached`);
    const place = { mounts: volumeMounts, image: imageId };
    const inside = Object.entries(env).map(([key, value]) => {
      const mount = volumeMounts.find(({ mountPath }) => value.startsWith(`${mountPath}/`));
      return [key, mount === undefined ? value : mapped(place, value)];
    });
    const sandbox: TestSandbox = {
      ...{ id, taskId: `ta-${id}`, name, tags, gpu, ...place, env: Object.fromEntries(inside), workdir, timeoutSecs },
      execs: [],
      over: Promise.resolve(),
    };
    sandboxes.push(sandbox);
    const timer = setTimeout(() => end(sandbox, timedOut), timeoutSecs * 1000);
    timer.unref();
    if (entrypointArgs.length > 0) {
      sandbox.main = start(sandbox, entrypointArgs);
      sandbox.over = sandbox.main.ended.then((exitcode) => {
        clearTimeout(timer);
        end(sandbox, { status: exitcode === 0 ? status.success : status.failure, exitcode, exception: '' });
      });
    }
    return sandbox;
  };
  const environmentOf = (sources: readonly { secretId?: string; env?: { contents: Record<string, string> } }[]) =>
    Object.assign({}, ...sources.map(({ secretId, env }) => env?.contents ?? ephemeral.get(secretId ?? '') ?? {}));
  const wait = async (id: string, seconds: number) => {
    const sandbox = byId(id);
    for (const until = Date.now() + seconds * 1000; !isOver(sandbox) && Date.now() < until; ) await pause(20);
    return { result: sandbox.result, metadata: { appId: 'ap-1' } };
  };
  const terminate = ({ sandboxId }: { sandboxId: string }) => {
    end(byId(sandboxId), { status: status.terminated, exitcode: 0, exception: 'terminated' });
    return {};
  };
  const access = () => ({ url, jwt: jwt() });
  const tagsOf = ({ sandboxId }: { sandboxId: string }) => ({ tags: byId(sandboxId).tags });
  const byName = ({ sandboxName, includeTerminated = false }: { sandboxName: string; includeTerminated?: boolean }) => {
    const found = sandboxes.findLast(
      ({ name, ...each }) => name === sandboxName && (includeTerminated || !isOver(each as TestSandbox)),
    );
    return { sandboxId: (found ?? fail(codes.notFound, 'no such sandbox')).id };
  };

  const control = {
    authTokenGet: () => (faults.refuseToken ? fail(codes.unauthenticated, 'Token ID is not known') : { token: jwt() }),
    environmentGetOrCreate: () => ({
      environmentId: 'en-1',
      metadata: { name: 'main', settings: { imageBuilderVersion: '2025.06' } },
    }),
    appGetOrCreate: () => ({ appId: 'ap-1' }),
    volumeGetOrCreate: ({ deploymentName }: { deploymentName: string }) => {
      const volumeId = volumes.get(deploymentName) ?? `vo-${deploymentName}`;
      volumes.set(deploymentName, volumeId);
      inFolder('volumes', volumeId);
      return { volumeId };
    },
    secretGetOrCreate: ({ envDict }: { envDict: Record<string, string> }) => {
      const secretId = `st-${randomId()}`;
      ephemeral.set(secretId, envDict);
      return { secretId };
    },
    imageGetOrCreate: ({ image }: { image: { dockerfileCommands: string[]; baseImages: { imageId: string }[] } }) => {
      const text = image.dockerfileCommands.join('\n');
      const known = [...built].find(([, commands]) => commands.join('\n') === text)?.[0];
      const imageId = known ?? `im-${randomId()}`;
      for (const [name, script] of Object.entries(programs)) {
        writeFileSync(join(inFolder('images', imageId, 'bin'), name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
      }
      built.set(imageId, image.dockerfileCommands);
      return { imageId };
    },
    async *imageJoinStreaming() {
      yield { taskLogs: [{ data: 'Step 1\n' }], entryId: '1-0' };
      const failure = faults.build;
      yield {
        result: failure === undefined ? { status: status.success } : { status: status.failure, exception: failure },
        entryId: '2-0',
        eof: true,
      };
    },
    imageGetByTag: ({ tag }: { tag: string }) => ({
      imageId: named.get(tag) ?? fail(codes.notFound, `no image ${tag}`),
    }),
    imagePublish: ({ tag, imageId }: { tag: string; imageId: string }) => {
      named.set(tag, imageId);
      return {};
    },
    /** The older kind of sandbox, which those with a GPU are; its id has 22 letters and digits. */
    sandboxCreate: ({ definition, tags }: { definition: SandboxDefinition; tags: TestSandbox['tags'] }) => {
      const env = environmentOf(definition.secretIds.map((secretId) => ({ secretId })));
      return { sandboxId: create(definition, tags, env, `sb-${randomId()}`).id };
    },
    sandboxCreateV2: (request: { definition: SandboxDefinition; tags: TestSandbox['tags']; secretSources: [] }) => {
      const env = environmentOf(request.secretSources);
      const { id, taskId } = create(request.definition, request.tags, env, `sb-v2${randomId()}`);
      return { sandboxId: id, taskId, commandRouterAccess: access() };
    },
    sandboxGetTaskId: ({ sandboxId }: { sandboxId: string }) => ({ taskId: byId(sandboxId).taskId }),
    sandboxWait: ({ sandboxId, timeout }: { sandboxId: string; timeout: number }) => wait(sandboxId, timeout),
    sandboxWaitV2: ({ sandboxId, timeout }: { sandboxId: string; timeout: number }) => wait(sandboxId, timeout),
    sandboxTerminate: terminate,
    sandboxTerminateV2: terminate,
    sandboxTagsGet: tagsOf,
    sandboxTagsGetV2: tagsOf,
    // Only sandboxes of the newer kind are found by the newer call, as far as the SDK tells.
    sandboxGetFromNameV2: () => fail(codes.notFound, 'no such sandbox'),
    sandboxGetFromName: byName,
    sandboxListV2: (request: { tags: TestSandbox['tags']; beforeTimestamp: number }) => {
      const has = (sandbox: TestSandbox) =>
        request.tags.every(({ tagName, tagValue }) =>
          sandbox.tags.some((tag) => tag.tagName === tagName && tag.tagValue === tagValue),
        );
      const fitting = sandboxes.filter((sandbox) => !isOver(sandbox) && has(sandbox));
      return { sandboxes: request.beforeTimestamp > 0 ? [] : fitting.map(({ id }) => ({ id, createdAt: 1 })) };
    },
    async *sandboxGetLogs(
      request: { sandboxId: string; fileDescriptor: number; lastEntryId: string },
      { signal }: { signal: AbortSignal },
    ) {
      const sandbox = byId(request.sandboxId);
      const output = request.fileDescriptor === 1 ? sandbox.main?.stdout : sandbox.main?.stderr;
      let at = Number(request.lastEntryId.split('-')[0]);
      const text = new TextDecoder();
      for await (const data of output?.read(at, signal) ?? []) {
        at += data.length;
        yield {
          items: [{ data: text.decode(data, { stream: true }), fileDescriptor: request.fileDescriptor }],
          entryId: `${at}-0`,
        };
      }
      await sandbox.over;
      yield { items: [], entryId: `${at}-0`, eof: true };
    },
    taskGetCommandRouterAccess: access,
    sandboxGetCommandRouterAccess: access,
  };

  const router = {
    taskExecStart: ({
      taskId,
      execId,
      commandArgs,
      workdir,
    }: {
      taskId: string;
      execId: string;
      commandArgs: string[];
      workdir?: string;
    }) => {
      const sandbox = byTask(taskId);
      if (isOver(sandbox)) fail(9, 'the sandbox has ended');
      executed.push(commandArgs);
      const process = start(sandbox, commandArgs, workdir);
      execs.set(execId, process);
      sandbox.execs.push(process);
      return {};
    },
    async *taskExecStdioRead(
      { execId, offset, fileDescriptor }: { execId: string; offset: number; fileDescriptor: number },
      { signal }: { signal: AbortSignal },
    ) {
      const process = execs.get(execId) ?? fail(codes.notFound, 'no such process');
      const output = fileDescriptor === 0 ? process.stdout : process.stderr;
      for await (const data of output.read(Number(offset), signal)) yield { data };
    },
    taskExecWait: async ({ execId }: { execId: string }) => ({
      code: await (execs.get(execId) ?? fail(codes.notFound, 'no such process')).ended,
    }),
    taskExecStdinWrite: async ({
      execId,
      offset,
      data,
      eof,
    }: {
      execId: string;
      offset: number;
      data: Uint8Array;
      eof: boolean;
    }) => {
      const { stdin } = (execs.get(execId) ?? fail(codes.notFound, 'no such process')).child;
      // A repeated message is no new one.
      const done = stdinDone.get(execId) ?? 0;
      const fresh = data.subarray(Math.max(0, done - Number(offset)));
      stdinDone.set(execId, done + fresh.length);
      if (fresh.length > 0) await new Promise<void>((resolve) => stdin!.write(fresh, () => resolve()));
      if (eof) stdin!.end();
      return {};
    },
    taskSnapshotFilesystem: ({ taskId }: { taskId: string }) => ({ imageId: byTask(taskId).image }),
  };

  let server: GrpcServer;
  const listen = async (port: number) => {
    server = grpc.createServer({ 'grpc.max_receive_message_length': 1 << 27 });
    server.add(only(ModalClientDefinition, control), control);
    server.add(only(TaskCommandRouterDefinition, router), router);
    return await server.listen(`127.0.0.1:${port}`);
  };
  const port = await listen(0);
  url = `https://127.0.0.1:${port}`;
  t.after(() => {
    for (const sandbox of sandboxes) end(sandbox, { status: status.terminated, exitcode: 0, exception: 'test over' });
    server.forceShutdown();
  });
  return {
    url: `http://127.0.0.1:${port}`,
    env: {
      MODAL_SERVER_URL: `http://127.0.0.1:${port}`,
      MODAL_TOKEN_ID: 'ak-1',
      MODAL_TOKEN_SECRET: 'as-1',
      MODAL_CONFIG_PATH: join(folder, 'no-such-file.toml'),
    },
    ...{ faults, sandboxes, built, named, executed },
    volume: (name) => inFolder('volumes', volumes.get(name) ?? `vo-${name}`),
    image: (id) => inFolder('images', id),
    hold(name) {
      const { main } = byId(byName({ sandboxName: name }).sandboxId);
      main!.kill('SIGSTOP');
      return () => main!.kill('SIGCONT');
    },
    expire: (name) => end(byId(byName({ sandboxName: name }).sandboxId), timedOut),
    async cut(ms) {
      server.forceShutdown();
      await pause(ms);
      await listen(port);
    },
  };
}

interface SandboxDefinition {
  readonly name?: string;
  readonly entrypointArgs: string[];
  readonly imageId: string;
  readonly timeoutSecs: number;
  readonly workdir?: string;
  readonly secretIds: string[];
  readonly volumeMounts: { volumeId: string; mountPath: string }[];
  readonly resources?: { gpuConfig?: { gpuType: string } };
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** 22 letters and digits. */
const randomId = () => randomBytes(11).toString('hex');

/** Valid for an hour; nobody checks its signature. */
function jwt(): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part({ exp: Math.floor(Date.now() / 1000) + 3600 })}.x`;
}
