import path from 'node:path';
import type { RunningProgram } from '../src/ports/exec.ts';
import { type NetLab, startNetLab } from '../test/netns/net-lab.ts';
import { type Furiwake, metricIn, readMemory } from './furiwake.ts';
import type { Answer, Question, SimOrder } from './hosts/sim.ts';
import { now } from './hosts/services.ts';

/** VIPs of the net lab: its client routes them to the load balancer. */
export const pool = '10.50.0.0/18';

/** Network namespaces with a simulated API server on the load-balancer host; HAProxy, nft, packets are real. */
export type Site = AsyncDisposable & {
  readonly lab: NetLab;
  readonly ask: (question: Question) => Promise<Answer>;
  /** Runs a program of `hosts/` on the load-balancer host and returns the number that it prints. */
  readonly measure: (program: string, ...args: readonly string[]) => Promise<number>;
  readonly startFuriwake: () => SiteFuriwake;
};

export type SiteFuriwake = Furiwake & {
  /** Time of its start, in ms. */
  readonly startedAt: number;
  /** Removes everything that it configured on the host. */
  readonly cleanUp: () => Promise<void>;
};

export type SiteOptions = Omit<SimOrder, 'kubeconfig'> & {
  /** Machines that act as the nodes. */
  readonly machines: number;
  readonly bundle: string;
  readonly signal: AbortSignal;
};

const timeoutMs = 120_000;

/** Starts the machines and the API server with its objects. */
export async function startSite({ machines, bundle, signal, ...order }: SiteOptions): Promise<Site> {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await startNetLab({ nodes: machines }));
  const { execPort } = lab.balancer;
  const kubeconfig = path.join(lab.folder, 'kubeconfig');
  const start = (program: string, ...args: readonly string[]): RunningProgram =>
    execPort.spawn(process.execPath, [path.join(import.meta.dirname, 'hosts', program), ...args], signal);
  const sim = stack.use(start('sim.ts', JSON.stringify({ ...order, kubeconfig } satisfies SimOrder)));
  const answers = sim.lines[Symbol.asyncIterator]();
  const nextLine = async (): Promise<string> => {
    const { value, done } = await answers.next();
    if (done !== true) return value;
    throw new Error(`the simulated API server has ended: ${await sim.takeErrors()}`);
  };
  await nextLine(); // it serves
  const flags = ['--state-dir', path.join(lab.folder, 'state')];
  const parts = stack.move();
  const furiwakeEnded = Promise.withResolvers<never>();
  furiwakeEnded.promise.catch(() => undefined); // the next wait has the error
  const unlessEnded = <T>(work: Promise<T>): Promise<T> => Promise.race([work, furiwakeEnded.promise]);
  return {
    lab,
    ask: async (question) => {
      await sim.write(`${JSON.stringify(question)}\n`);
      return JSON.parse(await unlessEnded(nextLine())) as Answer;
    },
    measure: async (program, ...args) => {
      const file = path.join(import.meta.dirname, 'hosts', program);
      const run = execPort.run(process.execPath, [file, ...args], { signal, timeoutMs });
      return Number((await unlessEnded(run)).stdout);
    },
    startFuriwake: () => {
      const startedAt = now();
      const args = ['run', '--kubeconfig', kubeconfig, '--addresses', pool, '--log-level', 'warn', ...flags];
      // With an inspector, to read the heap; a signal cannot open one.
      const running = execPort.spawn('env', ['NODE_OPTIONS=--inspect=127.0.0.1:9229', bundle, ...args], signal);
      let state: 'runs' | 'stops' | 'ended' = 'runs';
      void running.exited.then(async () => {
        const errors = await running.takeErrors();
        if (state === 'runs') furiwakeEnded.reject(new Error(`furiwake has ended: ${errors.trim()}`));
        state = 'ended';
      });
      return {
        pid: running.pid,
        startedAt,
        memory: () => readMemory(running.pid),
        metric: async (name) => {
          const url = `http://127.0.0.1:9470/metrics?name[]=${name}`;
          return metricIn(await lab.balancer.exec('curl', '-sg', url), name);
        },
        cleanUp: async () => {
          await execPort.run(bundle, ['cleanup', ...flags], { signal, timeoutMs });
        },
        [Symbol.asyncDispose]: async () => {
          if (state === 'runs') process.kill(running.pid, 'SIGTERM');
          state = 'stops';
          await running.exited;
        },
      };
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}
