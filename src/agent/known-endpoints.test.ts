import { expect, test } from 'vitest';
import { addressOf, directListener, tableOf } from '../../test/make/table.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { hostBackend } from '../core/traffic/host-pods.ts';
import type { PodBackend, TrafficTable } from '../core/traffic/table.ts';
import { withKnownEndpoints } from './known-endpoints.ts';

test('Pods for the host itself stay while the endpoints are not known, and those of a listener that is gone leave', () => {
  const dns = directListener('192.0.2.53', 53);
  const pod = { address: addressOf('10.244.1.7'), port: 53, node: undefined, isDraining: false };
  const pods = PersistentMap.from([[hostBackend(dns)!, { family: 4, pods: [pod] } satisfies PodBackend]]);
  const before: TrafficTable = { ...tableOf([dns]), pods };
  expect([...withKnownEndpoints(tableOf([dns]), before).pods]).toEqual([...pods]);
  expect([...withKnownEndpoints(tableOf([]), before).pods]).toEqual([]);
});
