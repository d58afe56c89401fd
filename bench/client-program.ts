import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Lab } from '../lab/lab.ts';
import { until } from '../lab/machine/until.ts';

/** A program of `hosts/` that says `running`, and prints its result as JSON after SIGTERM. */
export type ClientProgram<T> = AsyncDisposable & {
  /** Ends it; its result. */
  readonly stop: () => Promise<T>;
};

let started = 0;

/** Starts it on the client behind the router; resolves when it runs. */
export async function startOnClient<T>(
  lab: Lab,
  program: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<ClientProgram<T>> {
  const name = `${program}-${++started}`; // each has a log of its own
  const file = path.join(import.meta.dirname, 'hosts', `${program}.ts`);
  const part = await lab.host('client').spawn(name, [process.execPath, file, ...args]);
  const said = async (): Promise<string> => readFile(part.logPath, 'utf8');
  await until(`${name} to run`, async () => (await said()).includes('running\n'), { signal, timeoutMs: 60_000 });
  return {
    stop: async () => {
      part.kill('SIGTERM');
      await part.ended(signal);
      return JSON.parse((await said()).trimEnd().split('\n').at(-1) ?? '') as T;
    },
    [Symbol.asyncDispose]: () => lab.host('client').stop(name),
  };
}
