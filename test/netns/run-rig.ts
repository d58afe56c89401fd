import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { askAdmin } from '../../src/daemon/admin.ts';
import type { HostStatus } from '../../src/daemon/host-status.ts';
import type { CommandDeps } from '../../src/daemon/platform.ts';
import { isToldToEnd } from '../../src/main/end.ts';
import { cleanup } from '../../src/main/cleanup.ts';
import type { RunOptions } from '../../src/cli/options.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import { systemFiles } from '../../src/main/node/files.ts';
import { makeMetrics } from '../../src/main/node/metrics.ts';
import { run } from '../../src/main/run.ts';
import { endpointSlice } from '../make/endpoint-slice.ts';
import { makeMachine, makeOptions } from '../make/machine.ts';
import type { SimApiServer } from '../sim/apiserver.ts';
import { type RecordedLog, recordLog } from '../sim/observers.ts';
import type { Machine, NetLab } from './net-lab.ts';

export type Furiwake = AsyncDisposable & {
  /** Rejects with the error of a start that fails. */
  readonly ended: Promise<void>;
  readonly log: RecordedLog;
  readonly status: () => Promise<HostStatus | undefined>;
  readonly stateDir: string;
};

type RunScene = { readonly lab: NetLab; readonly server: SimApiServer };
type RunPlace = Partial<{
  readonly on: Machine;
  readonly hostname: string;
  /** For its state directory and its lock. */
  readonly folder: string;
  readonly stateDir: string;
  readonly addresses: string;
  /** The API server does not answer it. */
  readonly isCutOff: boolean;
}>;

/** The namespace of the Lease, and the Service `default/web`, port 80. */
export function putWeb(server: SimApiServer): void {
  server.put('Namespace', { metadata: { name: 'furiwake-system' } });
  server.put('Service', {
    metadata: { name: 'web', namespace: 'default' },
    spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }] },
  });
  server.put('EndpointSlice', endpointSlice('web'));
}

/** The parameters of a command on a machine of the lab, by default its load-balancer host. */
async function commandOn(
  { lab, server }: RunScene,
  {
    on = lab.balancer,
    hostname = 'lb1',
    folder = lab.folder,
    stateDir = `${folder}/state`,
    isCutOff = false,
    ...options
  }: RunPlace,
): Promise<{ readonly options: RunOptions; readonly deps: CommandDeps; readonly log: RecordedLog }> {
  const log = recordLog();
  const kubeconfig = `${folder}/kubeconfig`;
  const text = server.kubeconfig();
  await writeFile(kubeconfig, isCutOff ? text.replace(/(server.*:)\d+/, '$11') : text);
  const machine = makeMachine({
    clock: systemClock,
    random: Math.random,
    exec: on.execPort,
    files: systemFiles,
    hostname,
    newId: randomUUID,
    runFolder: `${folder}/run`,
  });
  return {
    options: makeOptions({ ...options, kubeconfig, stateDir, metricsAddress: 'none' }),
    deps: { version: '0.2.0', machine, log, metrics: makeMetrics(), onReload: () => undefined },
    log,
  };
}

/** `furiwake run`; ends when it is disposed of. */
export async function startRun(place: RunScene, where: RunPlace = {}): Promise<Furiwake> {
  const { options, deps, log } = await commandOn(place, where);
  const { stateDir } = options;
  const stop = new AbortController();
  const ended = run(options, deps, stop.signal);
  ended.catch(() => undefined); // awaited below
  return {
    log,
    stateDir,
    ended,
    status: async () => {
      const answer = askAdmin(`${stateDir}/admin.sock`, 'GET', '/status', '', AbortSignal.timeout(5_000));
      const text = await answer.catch(() => undefined);
      return text === undefined ? undefined : (JSON.parse(text) as HostStatus);
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await ended.catch((error: unknown) => {
        if (!isToldToEnd(error, stop.signal)) throw error; // a start may be under way
      });
    },
  };
}

/** `furiwake cleanup`. */
export async function cleanUp(place: RunScene, where: RunPlace = {}): Promise<void> {
  const { options, deps } = await commandOn(place, where);
  await cleanup(options, false, deps, AbortSignal.timeout(30_000));
}
