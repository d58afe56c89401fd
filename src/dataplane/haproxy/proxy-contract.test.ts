import { proxyContract } from '../../../test/contract/proxy.ts';
import { makeMachineRig } from '../../../test/make/haproxy-rig.ts';
import { systemClock } from '../../main/node/clock.ts';
import { makeHostPorts } from '../../../test/make/host-ports.ts';
import { node, tableOf } from '../../../test/make/table.ts';
import { isUsualProfile } from '../../core/traffic/options.ts';
import type { Listener } from '../../core/traffic/table.ts';
import { ProxyAbsentError } from '../../ports/proxy.ts';
import { entryKey } from './config/entries.ts';

const nodes = [node('n1', '10.20.0.11', 'fd20::11')];
const table = (listeners: readonly Listener[]): ReturnType<typeof tableOf> => tableOf(listeners, nodes);

proxyContract('the fake that the tests of the agent use', async () => {
  const ports = makeHostPorts(systemClock);
  const hang = Promise.withResolvers<void>();
  return {
    proxy: ports.proxy,
    table,
    targetPort: 30_080,
    serves: async ({ key }) => ports.held.proxy.has(key),
    die: async () => ports.dieProxy(),
    remove: async ({ key }) => {
      ports.held.proxy = ports.held.proxy.with([[key, undefined]]);
    },
    hang: async (isHanging) => {
      for (const step of ['proxy.upsert', 'proxy.prune', 'proxy.audit'] as const)
        if (isHanging) ports.hanging.set(step, hang.promise);
        else ports.hanging.delete(step);
      if (!isHanging) hang.resolve();
    },
    preventStarts: async (isPrevented) => {
      if (isPrevented) ports.failing.set('proxy.upsert', new ProxyAbsentError('HAProxy cannot be started'));
      else ports.failing.delete('proxy.upsert');
    },
    preventReloads: async (isPrevented) => {
      const isUsual = ({ options }: Listener): boolean => options === undefined || isUsualProfile(options.profile);
      ports.refuses.profile = (each) => (isPrevented && !isUsual(each) ? 'needs a reload' : undefined);
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
});

proxyContract('HAProxy in memory', async () => {
  const { machine, proxy, clock } = makeMachineRig();
  const hang = Promise.withResolvers<void>();
  return {
    proxy,
    table,
    targetPort: 30_080,
    serves: async (listener) => machine.held?.map.has(entryKey(listener)) === true,
    die: async () => machine.die(),
    remove: async (listener) => void machine.held?.map.delete(entryKey(listener)),
    hang: async (isHanging) => {
      machine.faults.hang = isHanging ? hang.promise : undefined;
      if (!isHanging) hang.resolve();
    },
    preventStarts: async (isPrevented) => {
      machine.faults.start = isPrevented ? 'cannot bind socket' : undefined;
      await clock.advance(1000);
    },
    preventReloads: async (isPrevented) => {
      machine.faults.config = () => (isPrevented ? 'out of memory' : undefined);
      await clock.advance(1000);
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
});
