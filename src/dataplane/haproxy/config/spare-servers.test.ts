import { expect, test } from 'vitest';
import { addressOf, node, nodeName } from '../../../../test/make/table.ts';
import { plainServer } from '../../../core/traffic/options.ts';
import { serverId } from './node-servers.ts';
import { drainMsOf, podServer } from './spare-servers.ts';

const n1 = node('n1', '192.0.2.11');
const pod = { address: addressOf('10.244.1.7'), port: 8080, node: nodeName('n1'), isDraining: false };
const silentNode = serverId({ family: 4, node: nodeName('n1') });

test.each([
  ['whose node is up', pod, n1, [], 'ready'],
  ['on a silent node', pod, n1, [silentNode], 'drain'],
  ['on a node that drains', pod, { ...n1, state: 'drain' }, [], 'drain'],
  ['that terminates', { ...pod, isDraining: true }, n1, [], 'drain'],
  ['whose node is not known', { ...pod, node: undefined }, n1, [silentNode], 'ready'],
] as const)('a Pod %s', (_, each, host, silent, admin) => {
  const nodes = new Map([[host.name, host]]);
  const setting = { options: plainServer, silent: new Set(silent), isAffine: false };
  expect(podServer(each, { nodes }, setting).admin).toBe(admin);
});

test.each([
  ['n1:30080:drain1000', 1000],
  ['n1:30080:proxy2.drain5000.check1-2-3', 5000],
  ['pod_fd44::1:7_8080:drain1000', 1000],
  ['n1', undefined],
  ['n1.drain1000', undefined],
  ['drain1000:30080:proxy1', undefined],
  ['pod_fd44::1:7_8080', undefined],
])('the time of the server %s is %j', (name, ms) => {
  expect(drainMsOf(name)).toBe(ms);
});
