import type { Host } from '../network/host.ts';
import { apiServer } from './kubeconfig.ts';
import { pkiFiles } from './pki.ts';

/** The fields of a Node that the lab reads. */
export type NodeState = {
  /** Absent until the cluster has assigned ranges. */
  readonly podCidrs: readonly string[] | undefined;
  readonly isReady: boolean;
};

type NodeObject = {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly podCIDRs?: readonly string[] };
  readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
};

/** Reads the Nodes from the API server, on the control plane's host; curl costs a tenth of kubectl. */
export async function readNodes(
  controlPlane: Host,
  folder: string,
  token: string,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, NodeState>> {
  const credentials = ['--cacert', pkiFiles(folder).ca, '--oauth2-bearer', token];
  const ask = ['curl', '--silent', '--fail', ...credentials, `${apiServer}/api/v1/nodes`];
  const { stdout } = await controlPlane.exec(ask, { signal, timeoutMs: 5_000 });
  const { items } = JSON.parse(stdout) as { readonly items: readonly NodeObject[] };
  return new Map(
    items.map(({ metadata, spec, status }) => [
      metadata.name,
      {
        podCidrs: spec.podCIDRs,
        isReady: (status.conditions ?? []).some(({ type, status: value }) => type === 'Ready' && value === 'True'),
      },
    ]),
  );
}
