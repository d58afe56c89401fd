import { expect, test } from 'vitest';
import { makeService } from '../../test/make/service.ts';
import { tableOf } from '../../test/make/table.ts';
import type { Assignment } from '../core/addresses/assignment.ts';
import type { ServiceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { serviceLines } from './host-status.ts';

test('a Service whose status another client keeps changing says so, beside what its conditions say', () => {
  const service = makeService('a');
  const plan = {
    eligibility: PersistentMap.from([[service.key, 'ours' as const]]),
    assignments: PersistentMap.empty<ServiceKey, Assignment>(),
    table: tableOf([]),
  };
  const known = { plan, services: new Map([[service.key, service]]), paused: new Set([service.key]) };
  expect(serviceLines(known, new Map(), 0)).toMatchObject([
    {
      status: 'Pending',
      reason: 'StatusConflict',
      message:
        'another client keeps changing this status; status updates are paused; no condition has been written yet',
    },
  ]);
});
