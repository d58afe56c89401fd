import type { CommandDeps } from '../../daemon/platform.ts';
import { type KubeClient, makeKubeClient } from '../../kube/client.ts';
import { type ClusterConfig, loadKubeConfig } from '../../kube/config.ts';
import type { RunOptions } from '../options.ts';
import { ok, warning } from './finding.ts';
import type { Inspect } from './inspect.ts';

/** The API server that the kubeconfig names. */
export type ApiConnection = AsyncDisposable & {
  readonly server: string;
  /** The user and the source of its credentials: `user "furiwake" of context "furiwake" in /etc/furiwake/kubeconfig`. */
  readonly identity: string;
  readonly warnings: ClusterConfig['warnings'];
  readonly client: Pick<KubeClient, 'get' | 'list' | 'create'>;
};

/** Reads the kubeconfig; asks the server nothing yet. Throws `KubeConfigError`. */
export type Connect = (options: Pick<RunOptions, 'kubeconfig' | 'context'>) => Promise<ApiConnection>;

export function makeConnect({ machine, log, metrics }: Pick<CommandDeps, 'machine' | 'log' | 'metrics'>): Connect {
  return async ({ kubeconfig, context }) => {
    const config = await loadKubeConfig({ ...machine, log, kubeconfig, context });
    const { clock, random } = machine;
    const client = makeKubeClient({ config, clock, log, metrics, random });
    const { server, identity, warnings } = config;
    return { server, identity, warnings, client, [Symbol.asyncDispose]: () => client.close() };
  };
}

/** `undefined` where the kubeconfig cannot be used. */
export async function openConnection(
  options: Pick<RunOptions, 'kubeconfig' | 'context'>,
  connect: Connect,
  inspect: Inspect,
): Promise<ApiConnection | undefined> {
  let connection: ApiConnection | undefined;
  await inspect('API server', 'kubeconfig', async () => {
    connection = await connect(options);
    const { identity, warnings } = connection;
    return [ok(identity), ...warnings.map(({ found, advice }) => warning(found, advice))];
  });
  return connection;
}
