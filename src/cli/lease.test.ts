import { expect, test } from 'vitest';
import { recordLog } from '../../test/sim/observers.ts';
import { NoNamespaceError } from '../kube/lease.ts';
import { acquireLease } from './lease.ts';

const options = { leaseNamespace: 'furiwake-system', loadBalancerClass: 'furiwake.dev/haproxy' };
const { signal } = new AbortController();

test('a namespace that is not there is one line that says what to do', async () => {
  const lease = { acquire: () => Promise.reject(new NoNamespaceError('there is no namespace furiwake-system')) };
  await expect(acquireLease(lease, options, recordLog(), signal)).rejects.toMatchObject({
    code: 'START',
    message: expect.stringMatching(/^the namespace furiwake-system, .* kubectl apply -f deploy\/furiwake\.yaml/),
  });
});

test('who has it is told', async () => {
  const log = recordLog();
  await acquireLease({ acquire: async (_, onHolder) => onHolder?.('lb2_x') }, options, log, signal);
  expect(log.lines).toMatchObject([{ level: 'warn', fields: { holder: 'lb2_x', class: 'furiwake.dev/haproxy' } }]);
});
