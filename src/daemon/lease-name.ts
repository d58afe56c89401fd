import { createHash } from 'node:crypto';
import { defaultLoadBalancerClass } from '../core/model/contract.ts';

/** Leaves room for prefix and hash in the 253 characters of a name (RFC 1123 subdomain). */
const maxLength = 200;
const hashLength = 8;

/**
 * The Lease of a class; two classes never share one. If the class is not a valid object name, it is changed and a hash
 * is appended. The default class has no hash, so that all releases use the same Lease.
 */
export function leaseName(loadBalancerClass: string): string {
  const plain = plainName(loadBalancerClass);
  const isItself = plain === loadBalancerClass && plain !== plainName(defaultLoadBalancerClass) && !endsAsHash(plain);
  if (isItself || loadBalancerClass === defaultLoadBalancerClass) return `furiwake-${plain}`;
  const hash = createHash('sha256').update(loadBalancerClass).digest('hex').slice(0, hashLength);
  return `furiwake-${plain}-${hash}`;
}

/** The nearest valid name: lower-case letters, digits, `-` and `.`, with a letter or a digit at both ends of each part. */
function plainName(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9.]/g, '-')
    .slice(0, maxLength)
    .split('.')
    .map((part) => part.replaceAll(/^-+|-+$/g, ''))
    .filter((part) => part !== '')
    .join('.');
}

/** Ends like the changed name of another class. */
function endsAsHash(name: string): boolean {
  return new RegExp(`-[0-9a-f]{${hashLength}}$`).test(name);
}
