import { type ClusterConfig, loadKubeConfig } from '../../src/kube/config.ts';
import { filesOf, noPrograms } from '../sim/harness.ts';
import { recordLog } from '../sim/observers.ts';
import { virtualClock } from '../sim/virtual-clock.ts';

/** The surroundings in which a kubeconfig is looked for. */
export type Given = {
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly kubeconfig?: string;
  readonly context?: string;
};

export function load({ files = {}, env = {}, ...given }: Given): Promise<ClusterConfig> {
  const texts = filesOf(new Map(Object.entries(files)));
  return loadKubeConfig({
    ...given,
    env,
    homeFolder: '/home/me',
    files: texts,
    exec: noPrograms,
    clock: virtualClock(),
    log: recordLog(),
  });
}

/** A kubeconfig whose user is `user`. */
export function kubeconfigOf(user: object, cluster: object = {}, context: object = {}): string {
  return JSON.stringify({
    'current-context': 'lab',
    contexts: [{ name: 'lab', context: { cluster: 'c', user: 'u', ...context } }],
    clusters: [{ name: 'c', cluster: { server: 'https://10.0.0.1:6443', ...cluster } }],
    users: [{ name: 'u', user }],
  });
}

/** A source over a file that changes, and what it logged. */
export async function changing(
  text: string,
  others: Readonly<Record<string, string>> = {},
): Promise<{
  readonly config: ClusterConfig;
  readonly files: Map<string, string>;
  readonly clock: ReturnType<typeof virtualClock>;
  readonly log: ReturnType<typeof recordLog>;
}> {
  const clock = virtualClock();
  const files = new Map(Object.entries({ '/c': text, ...others }));
  const log = recordLog();
  const options = { kubeconfig: '/c', env: {}, homeFolder: '/', files: filesOf(files), exec: noPrograms, clock, log };
  return { config: await loadKubeConfig(options), files, clock, log };
}
