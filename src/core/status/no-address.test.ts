import { expect, test } from 'vitest';
import { makeService } from '../../../test/make/service.ts';
import { conditions, statusOf } from '../../../test/make/status.ts';

test('of a Service without an address both conditions say why', () => {
  const status = statusOf([makeService('a', { loadBalancerIp: '198.51.100.1' })]);
  expect(conditions(status)).toEqual({ AddressAssigned: 'False AddressNotInPool', Serving: 'False NoAddress' });
  const [assigned, serving] = status?.conditions ?? [];
  expect(assigned?.message).toContain('198.51.100.1');
  expect(serving?.message).toBe(assigned?.message);
});
