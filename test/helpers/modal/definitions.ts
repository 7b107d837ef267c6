/**
 * @file The message definitions of Modal's protocol, from the SDK itself. It does not export them, so its text is evaluated with
 * two exports more.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';

interface ServiceDefinition {
  readonly fullName: string;
  readonly methods: Readonly<Record<string, object>>;
}

/** The part of nice-grpc that a server needs. */
export interface GrpcServer {
  add(definition: ServiceDefinition, implementation: object): void;
  listen(address: string): Promise<number>;
  forceShutdown(): void;
}

export interface GrpcLibrary {
  createServer(options?: object): GrpcServer;
  ServerError: new (code: number, details: string) => Error;
}

const entry = createRequire(import.meta.url).resolve('modal');
const requireAsSdk = createRequire(entry);

/** The SDK's own gRPC library. */
export const grpc = requireAsSdk('nice-grpc') as GrpcLibrary;

function definitions(): { ModalClientDefinition: ServiceDefinition; TaskCommandRouterDefinition: ServiceDefinition } {
  const module = { exports: {} as ReturnType<typeof definitions> };
  const text = readFileSync(entry.replace(/\.js$/, '.cjs'), 'utf8');
  const more = '\nmodule.exports = { ModalClientDefinition, TaskCommandRouterDefinition };';
  new Function('module', 'exports', 'require', '__filename', '__dirname', text + more)(
    ...[module, module.exports, requireAsSdk, entry, dirname(entry)],
  );
  return module.exports;
}

export const { ModalClientDefinition, TaskCommandRouterDefinition } = definitions();

/** The service with these methods only; any other call is answered with UNIMPLEMENTED. */
export function only(service: ServiceDefinition, implementation: object): ServiceDefinition {
  for (const name of Object.keys(implementation)) {
    if (!Object.hasOwn(service.methods, name)) throw new Error(`Modal's protocol has no call ${name}`);
  }
  const methods = Object.entries(service.methods).filter(([name]) => Object.hasOwn(implementation, name));
  return { ...service, methods: Object.fromEntries(methods) };
}
