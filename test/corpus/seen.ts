import type { Case, Manifest, PortSpec } from './cases.ts';
import type { Answer } from './hosts/ask.ts';

/** The fields of a live Service that the judge reads. */
export type LiveService = {
  readonly metadata: { readonly name: string; readonly finalizers?: readonly string[] };
  readonly status: {
    readonly loadBalancer: {
      readonly ingress?: readonly {
        readonly ip?: string;
        readonly ports?: readonly { readonly port: number; readonly protocol: string; readonly error?: string }[];
      }[];
    };
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason: string;
      readonly message: string;
    }[];
  };
};

/** A port of a Service on one of its addresses (`undefined`: it has none), and the answers there. */
export type Spoken = {
  readonly service: string;
  readonly address: string | undefined;
  readonly port: PortSpec;
  readonly fromClient: Answer;
  readonly fromLan: Answer;
};

/** A host that asks, with its own addresses. */
export type Asker = { readonly ip4: string; readonly ip6: string };

/** Everything that was seen of a case while it was deployed. */
export type Seen = {
  readonly case: Case;
  /** By name, after the last question. */
  readonly live: ReadonlyMap<string, LiveService>;
  readonly spoken: readonly Spoken[];
  readonly client: Asker;
  readonly lanclient: Asker;
  /** With `sessionAffinity`: twenty connections, one after the other, for each protocol and from each side. */
  readonly affine: readonly (readonly Answer[])[];
  /** With `Local`: connections one after the other for each protocol, when only n1 has Pods. */
  readonly onN1: readonly (readonly Answer[])[];
};

/** Annotations that request addresses, of the implementations in the corpus. */
export const requests: readonly string[] = [
  'metallb.io/loadBalancerIPs',
  'metallb.universe.tf/loadBalancerIPs',
  'lbipam.cilium.io/ips',
  'kube-vip.io/loadbalancerIPs',
];
/** The addresses of a Service. */
export function addressesOf(service: LiveService | undefined): readonly string[] {
  return (service?.status.loadBalancer.ingress ?? []).flatMap(({ ip }) => (ip === undefined ? [] : [ip]));
}

/** The addresses that a Service requests. */
export function requestedBy({ metadata, spec }: Manifest): readonly string[] {
  const annotation = requests.map((key) => metadata.annotations[key]).find((value) => value !== undefined);
  const wanted = annotation ?? spec.loadBalancerIP;
  return wanted === undefined ? [] : wanted.split(',').map((each) => each.trim());
}

/** Whether the Service reports that it does not serve this port. */
export function isReported(service: LiveService | undefined, port: PortSpec): boolean {
  const { loadBalancer, conditions = [] } = service?.status ?? { loadBalancer: {} };
  const error = (loadBalancer.ingress ?? [])
    .flatMap(({ ports = [] }) => ports)
    .some((each) => each.port === port.port && each.protocol === port.protocol && each.error !== undefined);
  return error || conditions.some(({ type, status }) => type === 'furiwake.dev/Serving' && status === 'False');
}
