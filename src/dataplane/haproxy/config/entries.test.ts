import { expect, test } from 'vitest';
import { withOptions } from '../../../../test/make/options.ts';
import type { Limits } from '../../../core/traffic/options.ts';
import { entryOf } from './entries.ts';

const unlimited = '4294967296';

// HAProxy skips all limits of a Service whose row ends before them, and tracks its clients only if the row has limits for clients.
test.each<[Partial<Limits>, string | undefined, string]>([
  [{}, unlimited, ''],
  [{ connections: 5 }, '5', unlimited],
  [{ rate: 7 }, unlimited, '7'],
  [{ connections: 5, rate: 7 }, '5', '7'],
  [{ clientConnections: 3 }, unlimited, `${unlimited}|3|${unlimited}`],
  [{ connections: 5, clientRate: 2 }, '5', `${unlimited}|${unlimited}|2`],
])('the limits %o in the row of a listener', (limits, cap, others) => {
  const entry = entryOf(withOptions('192.0.2.51', 80, 30_080, { limits }), new Map());
  if ('refusal' in entry) throw new Error(entry.refusal);
  const [, , most, , ...rest] = entry.value.split('|');
  expect([most, rest.join('|')]).toEqual([cap, others]);
});
