import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { askAdmin } from '../../src/daemon/admin.ts';
import type { HostStatus } from '../../src/daemon/host-status.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import { systemFiles } from '../../src/main/node/files.ts';
import { makeMetrics } from '../../src/main/node/metrics.ts';
import { run } from '../../src/main/run.ts';
import { makeMachine, makeOptions } from '../make/machine.ts';
import type { SimApiServer } from '../sim/apiserver.ts';
import { type RecordedLog, recordLog } from '../sim/observers.ts';
import type { Machine, NetLab } from './net-lab.ts';

export type Furiwake = AsyncDisposable & {
  readonly log: RecordedLog;
  readonly status: () => Promise<HostStatus | undefined>;
  readonly stateDir: string;
};

/** `furiwake run` on a machine of the lab, by default its load-balancer host; ends when it is disposed of. */
export async function startRun(
  { lab, server }: { readonly lab: NetLab; readonly server: SimApiServer },
  {
    on = lab.balancer,
    hostname = 'lb1',
    folder = lab.folder,
    ...options
  }: Partial<{
    readonly on: Machine;
    readonly hostname: string;
    /** For its state directory and its lock. */
    readonly folder: string;
    readonly addresses: string;
    readonly onLeaseLoss: 'withdraw' | 'keep';
  }> = {},
): Promise<Furiwake> {
  const [log, stop] = [recordLog(), new AbortController()];
  const kubeconfig = `${lab.folder}/kubeconfig`;
  await writeFile(kubeconfig, server.kubeconfig());
  const stateDir = `${folder}/state`;
  const machine = makeMachine({
    clock: systemClock,
    random: Math.random,
    exec: on.execPort,
    files: systemFiles,
    hostname,
    newId: randomUUID,
    lockFolder: `${folder}/lock`,
  });
  const ended = run(
    makeOptions({ ...options, kubeconfig, stateDir, metricsAddress: 'none' }),
    { version: '0.2.0', machine, log, metrics: makeMetrics(), onReload: () => undefined },
    stop.signal,
  );
  ended.catch(() => undefined); // awaited below
  return {
    log,
    stateDir,
    status: async () => {
      const text = await askAdmin(`${stateDir}/admin.sock`, 'GET', '/status', '', AbortSignal.timeout(5_000)).catch(
        () => undefined,
      );
      return text === undefined ? undefined : (JSON.parse(text) as HostStatus);
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await ended;
    },
  };
}
