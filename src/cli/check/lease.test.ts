import { expect, test } from 'vitest';
import type { KubeClient, RequestOptions } from '../../kube/client.ts';
import { KubeError, type KubeErrorCode } from '../../kube/errors.ts';
import { checkLease } from './lease.ts';

const options = { leaseNamespace: 'furiwake-system', loadBalancerClass: 'furiwake.dev/haproxy' };
const path = '/apis/coordination.k8s.io/v1/namespaces/furiwake-system/leases';

/** An API server that answers the creation of a Lease so, and has one that is held by `holder`. */
function clientOf(answer: KubeErrorCode | 'created', holder = '', keeper?: string): Pick<KubeClient, 'get' | 'create'> {
  const create = (at: string, body: unknown, { query }: RequestOptions): Promise<unknown> => {
    expect([at, query]).toEqual([path, { dryRun: 'All' }]);
    if (answer === 'created') return Promise.resolve(body);
    return Promise.reject(new KubeError({ code: answer, message: 'no', verb: 'create', path: at }));
  };
  const get = (at: string): Promise<unknown> => {
    expect(at).toBe(`${path}/furiwake-furiwake.dev-haproxy`);
    const annotations = keeper === undefined ? {} : { 'furiwake.dev/kept-addresses': `{"${keeper}":"2026-01-01"}` };
    const spec = { holderIdentity: holder, renewTime: '2026-01-01T00:00:00.000000Z' };
    return Promise.resolve({ metadata: { annotations }, spec });
  };
  return { create, get } as Pick<KubeClient, 'get' | 'create'>;
}

test.each([
  ['can be created', clientOf('created'), 'ok', /furiwake-system\/furiwake-furiwake\.dev-haproxy can be created/],
  ['has no namespace', clientOf('NOT_FOUND'), 'problem', /namespace furiwake-system does not exist/],
  ['is refused', clientOf('FORBIDDEN'), 'problem', /cannot be created: create .*: no/],
  ['is free', clientOf('ALREADY_EXISTS'), 'ok', /is free/],
  ['is our own', clientOf('ALREADY_EXISTS', 'lb1_x'), 'ok', /is held by this host/],
  ['notes this host', clientOf('ALREADY_EXISTS', 'lb1_x', 'lb1_x'), 'ok', /is held by this host$/],
  ['notes another host', clientOf('ALREADY_EXISTS', '', 'lb2_y'), 'warning', /is free, but host lb2 may still answer/],
  [
    'notes an earlier installation of this host',
    clientOf('ALREADY_EXISTS', '', 'lb1_y'),
    'warning',
    /is free, but another machine with the name of this host, lb1, may still answer for its addresses, unless it was this host/,
  ],
  ["is another's", clientOf('ALREADY_EXISTS', 'lb2_y'), 'warning', /another furiwake, lb2_y, renewed at 2026-01-01T/],
])('a Lease that %s', async (_, client, mark, found) => {
  const finding = await checkLease(client, options, 'lb1_x', new AbortController().signal);
  expect(finding).toMatchObject({ mark, found: expect.stringMatching(found) });
});
