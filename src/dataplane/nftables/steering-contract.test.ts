import { plainElements } from '../../../test/make/plain-elements.ts';
import { type Fate, steeringContract } from '../../../test/contract/steering.ts';
import { makeFakeHost } from '../../../test/make/fake-host.ts';
import { makeFakeNft } from '../../../test/make/fake-nft.ts';
import { systemClock } from '../../main/node/clock.ts';
import { makeHostPorts } from '../../../test/make/host-ports.ts';
import { silent } from '../../../test/make/log.ts';
import { recordMetrics } from '../../../test/sim/observers.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import { type Ip, parseIp } from '../../core/ip/ip.ts';
import { type IpRange, parseRange, rangeContains } from '../../core/ip/range.ts';
import { makeSteering } from './steering.ts';

const mostRanges = 8;
const client = parseIp('10.10.0.2') as Ip;

const fateWith = (ranges: readonly IpRange[] | undefined): Fate =>
  ranges === undefined || ranges.some((range) => rangeContains(range, client)) ? 'steered' : 'dropped';

steeringContract('the fake that the tests of the agent use', async () => {
  const ports = makeHostPorts(systemClock);
  ports.refuses.steering = ({ sourceRanges }) =>
    (sourceRanges?.length ?? 0) > mostRanges ? 'nft: Error: Too many open files in system' : undefined;
  return {
    steering: ports.steering,
    proxyPort: 292,
    mostRanges,
    fateOf: async ({ key }) => {
      const { listeners, serverless } = ports.held.steering;
      const held = listeners.get(key);
      return held === undefined || held.isDraining || serverless.has(key) ? 'refused' : fateWith(held.sourceRanges);
    },
    breakAll: (isBroken) => {
      if (isBroken) ports.failing.set('steering.apply', 'nft: Error: Operation not permitted');
      else ports.failing.delete('steering.apply');
    },
    remove: async ({ key }) =>
      ports.changeSteering((held) => ({ ...held, listeners: held.listeners.with([[key, undefined]]) })),
    [Symbol.asyncDispose]: async () => undefined,
  };
});

steeringContract('nftables in memory', async () => {
  const lifetime = new AbortController();
  let isBroken = false;
  const nft = makeFakeNft({
    refuse: (elements) => {
      if (isBroken) return 'Error: Operation not permitted';
      const ranges = [...elements].filter((element) => element.startsWith('sources4')).length;
      return ranges > mostRanges ? 'Error: Too many open files in system' : undefined;
    },
  });
  return {
    steering: makeSteering({
      host: makeFakeHost({ listening: async () => [] }),
      isBridgeFiltered: async () => false,
      exec: nft.exec,
      clock: virtualClock(),
      log: silent,
      metrics: recordMetrics(),
      lifetime: lifetime.signal,
    }),
    proxyPort: 292,
    mostRanges,
    fateOf: async ({ address, port }) => {
      const elements = new Set(plainElements(nft.elements() ?? []));
      const text = `${address.text} . ${port}`;
      if (!elements.has(`listeners4 ${text} : 292`)) return 'refused';
      if (elements.has(`closed4 ${text}`)) return 'refused';
      if (!elements.has(`ranges4 ${text}`)) return 'steered';
      const prefix = `allowed4 ${text} . `;
      return fateWith(
        [...elements]
          .filter((element) => element.startsWith(prefix))
          .flatMap((element) => parseRange(element.slice(prefix.length)) ?? []),
      );
    },
    breakAll: (now) => {
      isBroken = now;
    },
    remove: async ({ address, port }) =>
      nft.change((elements) => elements.delete(`listeners4 ${address.text} . ${port} : 292`)),
    [Symbol.asyncDispose]: async () => lifetime.abort(),
  };
});
