import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { type Lab, openLab } from '../../../lab/lab.ts';
import type { Host } from '../../../lab/network/host.ts';
import { type Cluster, makeCluster } from './cluster.ts';
import { type Furiwake, makeFuriwake, stateDir } from './furiwake.ts';
import { type HostState, readHostState, untilHostState } from './host-state.ts';
import { labName, lease } from './names.ts';
import { makeServices, type Services } from './services.ts';

/** The environment of a test file: the lab, and a new furiwake on lb1. */
export type Stage = {
  readonly lab: Lab;
  readonly cluster: Cluster;
  readonly services: Services;
  readonly furiwake: Furiwake;
  /** The load-balancer host. */
  readonly lb1: Host;
  /** Behind the router, like real clients. */
  readonly client: Host;
  /** On the nodes' LAN. */
  readonly lanclient: Host;
};

export type StageOptions = {
  /** Flags of `furiwake run`. */
  readonly flags?: readonly string[];
  /** False: the tests start it. */
  readonly isStarted?: boolean;
};

/** Without root there is no lab: `describe.skipIf(!isRoot)`. */
export const isRoot: boolean = process.getuid?.() === 0;

/**
 * Prepares the tests of a file: freshly booted load-balancer hosts, and furiwake on lb1. After each test its
 * Services are removed. At the end furiwake is stopped, and `furiwake cleanup` must leave the host as it was after its
 * boot.
 */
export function useStage({ flags = [], isStarted = true }: StageOptions = {}): () => Stage {
  let stage: Stage | undefined;
  const ready = (): Stage => {
    if (stage !== undefined) return stage;
    throw new Error('the stage is not set yet');
  };
  let pristine: HostState | undefined;

  beforeAll(async () => {
    const lab = await openLab(labName, new AbortController().signal);
    const cluster = await makeCluster(lab);
    const lb1 = lab.host('lb1');
    const boot = async (host: Host): Promise<void> => {
      await host.reboot();
      await host.exec(['rm', '-rf', stateDir]);
    };
    await Promise.all([boot(lb1), boot(lab.host('lb2'))]);
    await cluster.remove(lease).catch(() => undefined); // held by a Service of a failed test
    pristine = await readHostState(lb1);
    stage = {
      lab,
      cluster,
      services: makeServices(cluster),
      furiwake: makeFuriwake(lab, { flags }),
      lb1,
      client: lab.host('client'),
      lanclient: lab.host('lanclient'),
    };
    if (isStarted) await stage.furiwake.start();
  });

  const tidy = async ({ furiwake, services }: Stage, andStaying: boolean): Promise<void> => {
    if (services.left(andStaying).length === 0) return;
    if (!furiwake.isRunning()) await furiwake.start(); // its finalizers are set on them
    await services.removeAll(andStaying);
  };

  afterEach(async ({ task }) => {
    if (stage === undefined) return;
    if (task.result?.state === 'fail') await showLogs(stage);
    await tidy(stage, false);
  });

  afterAll(async () => {
    if (stage === undefined || pristine === undefined) return;
    const { furiwake, lb1 } = stage;
    await tidy(stage, true);
    if (furiwake.isRunning()) await furiwake.stop();
    expect(await furiwake.command(['cleanup'])).toMatchObject({ code: 0 });
    await untilHostState(lb1, pristine);
  });

  return ready;
}

/** For a failed test: the log of furiwake, and the warnings of Kubernetes. */
async function showLogs({ furiwake, lab }: Stage): Promise<void> {
  const lines = (await furiwake.log()).slice(-40).map((line) => JSON.stringify(line));
  process.stderr.write(`the end of furiwake's log:\n${lines.join('\n')}\n`);
  for (const part of ['cp-controller-manager', 'n1-kube-proxy', 'n2-kube-proxy']) {
    const complaints = (await lab.logs(part)).split('\n').filter((line) => /^[EW]\d{4} |failed/.test(line));
    process.stderr.write(`${part}, its last warnings:\n${complaints.slice(-10).join('\n')}\n`);
  }
}
