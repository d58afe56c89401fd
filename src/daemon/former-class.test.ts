import { expect, test } from 'vitest';
import { isTakenOver } from './former-class.ts';
import { KubeError } from '../kube/errors.ts';
import type { LeaseSpec } from '../kube/lease-object.ts';

const former = { lease: 'uid-1', transitions: 4, holder: 'lb1_a', leaseName: 'furiwake-a', host: 'lb1' };

function ask(spec: LeaseSpec | undefined, hostname = 'lb1'): Promise<boolean> {
  const get = (): Promise<never> =>
    spec === undefined
      ? Promise.reject(new KubeError({ code: 'NOT_FOUND', message: 'no such Lease', verb: 'GET', path: '/' }))
      : Promise.resolve({ metadata: { uid: 'uid-1' }, spec } as never);
  const deps = { client: { get }, namespace: 'ns', identity: 'lb1_a', hostname };
  return isTakenOver(former, deps, AbortSignal.timeout(1_000));
}

test.each<readonly [string, LeaseSpec | undefined, boolean]>([
  ['this host crashed', { holderIdentity: 'lb1_a', leaseTransitions: 4 }, false],
  ['this host released it', { holderIdentity: '', leaseTransitions: 4 }, false],
  ['the Lease was deleted', undefined, false],
  ['another host holds it', { holderIdentity: 'lb2_b', leaseTransitions: 5 }, true],
  ['another host held and released it', { holderIdentity: '', leaseTransitions: 5 }, true],
])('the class of before, when %s', async (_, spec, isTaken) => {
  expect(await ask(spec)).toBe(isTaken);
});

test('a copy of the state directory on another machine has no class of before', async () => {
  expect(await ask({ holderIdentity: '', leaseTransitions: 4 }, 'lb2')).toBe(true);
});
