import { expect, test } from 'vitest';
import { systemClock } from '../main/node/clock.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { makeHostPorts } from '../../test/make/host-ports.ts';
import { ip, makeSite } from '../../test/make/service.ts';
import type { HostFacts } from '../core/model/host.ts';
import type { Site } from '../core/model/site.ts';
import { makeFacts } from './facts.ts';

const { signal } = new AbortController();
const listening: HostFacts['listening'] = [{ protocol: 'TCP', address: undefined, family: 4, port: 80 }];

/** A host with an own address, a need and a program that listens. */
function host(site: Site, reserved = new Map<string, string>()) {
  const [clock, log] = [systemClock, recordLog()];
  const ports = makeHostPorts(clock);
  ports.setOwn('192.0.2.51');
  ports.setNeeds(new Map([['192.0.2.1', 'default gateway of this host']]));
  ports.listening = listening;
  return { ports, facts: makeFacts({ ...ports, site, reserved: async () => reserved, clock, log }) };
}

test('the facts hold the own addresses and everything that the host needs', async () => {
  const { facts } = host(makeSite(['203.0.113.8']), new Map([['192.0.2.2', 'the API server']]));
  expect(await facts(signal)).toEqual({
    ownAddresses: [ip('192.0.2.51')],
    primaryAddresses: [ip('192.0.2.51')],
    listening: [],
    listeningTrouble: undefined,
    needs: new Map([
      ['192.0.2.1', 'default gateway of this host'],
      ['192.0.2.2', 'the API server'],
    ]),
  });
});

test.each<[string, Site, HostFacts['listening']]>([
  ['read if own addresses are assigned', makeSite([], { handsOutOwn: true }), listening],
  ['read where an own address is in the pool', makeSite(['192.0.2.50-192.0.2.59']), listening],
  ['not read where no own address is in the pool', makeSite(['192.0.2.52', '203.0.113.8']), []],
])('the sockets of the host are %s', async (_, site, expected) => {
  const { facts, ports } = host(site);
  expect((await facts(signal)).listening).toEqual(expected);
  expect(ports.steps).toEqual(expected.length > 0 ? ['host.listening'] : []);
});

test('the facts are the same object while nothing differs, and another one when something does', async () => {
  const reserved = new Map<string, string>();
  const { facts } = host(makeSite(['203.0.113.8']), reserved);
  const first = await facts(signal);
  expect(await facts(signal)).toBe(first);
  reserved.set('192.0.2.2', 'the API server');
  expect((await facts(signal)).needs.get('192.0.2.2')).toBe('the API server');
});
