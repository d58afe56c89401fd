import { keptAddressesAnnotation } from '../kube/lease-object.ts';

/** The Lease, for messages. */
export type ShownLease = { readonly namespace: string; readonly name: string };

/** The host name in an identity: `lb1` of `lb1_53b6f3d2-…`. */
export function hostOfIdentity(identity: string): string {
  return identity.replace(/_[^_]*$/, '');
}

/** What is known of a host that keeps its addresses although this one may hold the Lease, and what to do about it. */
export function keptAddresses(
  identity: string,
  { namespace, name }: ShownLease,
): { readonly words: string; readonly advice: string } {
  const host = hostOfIdentity(identity);
  return {
    words: `host ${host} may still answer for its addresses: furiwake has ended there without cleanup, or is cut off from the API server`,
    advice: `run furiwake cleanup on ${host}, or start furiwake there; if it is gone: kubectl annotate lease ${name} --namespace ${namespace} ${keptAddressesAnnotation}-`,
  };
}

/** The same on one line. */
export function keptAddressesWords(identity: string, lease: ShownLease): string {
  const { words, advice } = keptAddresses(identity, lease);
  return `${words}; ${advice}`;
}

export const noNamespaceAdvice = 'kubectl apply -f deploy/furiwake.yaml, or name another one with --lease-namespace';
