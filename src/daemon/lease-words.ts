import { keptAddressesAnnotation } from '../kube/lease-object.ts';

/** The Lease, for messages. */
export type ShownLease = { readonly namespace: string; readonly name: string };

/** The host name in an identity: `lb1` of `lb1_53b6f3d2-…`. */
export function hostOfIdentity(identity: string): string {
  return identity.replace(/_[^_]*$/, '');
}

/** What is known of a host that keeps its addresses although this one, `own`, may hold the Lease, and what to do about it. */
export function keptAddresses(
  identity: string,
  { namespace, name }: ShownLease,
  own: string,
): { readonly words: string; readonly advice: string } {
  const host = hostOfIdentity(identity);
  const removal = `kubectl annotate lease ${name} --namespace ${namespace} ${keptAddressesAnnotation}-`;
  if (host === hostOfIdentity(own))
    return {
      words: `another machine with the name of this host, ${host}, may still answer for its addresses, unless it was this host before it was reinstalled`,
      advice: `run furiwake cleanup on the other machine; if there is none: ${removal}`,
    };
  return {
    words: `host ${host} may still answer for its addresses: furiwake has ended there without cleanup, or is cut off from the API server`,
    advice: `run furiwake cleanup on ${host}, or start furiwake there; if it is gone: ${removal}`,
  };
}

/** The same on one line. */
export function keptAddressesWords(identity: string, lease: ShownLease, own: string): string {
  const { words, advice } = keptAddresses(identity, lease, own);
  return `${words}; ${advice}`;
}

export const noNamespaceAdvice = 'kubectl apply -f deploy/furiwake.yaml, or name another one with --lease-namespace';
