import { describe, expect, test } from 'vitest';
import { type Case, readCases } from './cases.ts';
import type { Answer } from './hosts/ask.ts';
import { findLacks } from './lacks.ts';
import { addressesOf, type LiveService, type Seen, type Spoken } from './seen.ts';

const cases = new Map((await readCases()).map((one) => [one.name, one]));
const client = { ip4: '198.51.100.2', ip6: '2001:db8:0:2::2' };
const lanclient = { ip4: '192.0.2.100', ip6: '2001:db8:0:1::100' };
const fromN1: Answer = { pod: 'corpus-n1', client: '', ms: 3 };
const fromN2: Answer = { ...fromN1, pod: 'corpus-n2' };
const silence: Answer = { failure: 'silence' };

function caseOf(name: string): Case {
  const found = cases.get(name);
  if (found === undefined) throw new Error(`no case ${name}`);
  return found;
}

type Condition = NonNullable<LiveService['status']['conditions']>[number];
const serving: Condition = {
  type: 'furiwake.dev/Serving',
  status: 'True',
  reason: 'Serving',
  message: 'all ports are served',
};

/** A case that is served on these addresses to both clients, with its own fields kept. */
function served(name: string, addresses: readonly string[], conditions: readonly Condition[] = [serving]): Seen {
  const one = caseOf(name);
  const status = { loadBalancer: { ingress: addresses.map((ip) => ({ ip })) }, conditions };
  const live = new Map(
    one.services.map(({ metadata }) => [metadata.name, { metadata: { name: metadata.name }, status }]),
  );
  const isRestricted = one.needs.includes('source-ranges');
  const spoken = one.services.flatMap(({ metadata, spec }) =>
    spec.ports.flatMap((port) =>
      (addresses.length > 0 ? addresses : [undefined]).map((address): Spoken => {
        const family = address?.includes(':') === true ? 'ip6' : 'ip4';
        const answer = (asker: typeof client): Answer =>
          address === undefined ? { failure: 'no address' } : { ...fromN1, client: asker[family] };
        return {
          service: metadata.name,
          address,
          port,
          fromClient: answer(client),
          fromLan: isRestricted ? silence : answer(lanclient),
        };
      }),
    ),
  );
  const twelve = Array.from({ length: 12 }, () => fromN1);
  return { case: one, live, spoken, client, lanclient, affine: [twelve, twelve], onN1: [twelve] };
}

function withPort(seen: Seen, index: number, change: Partial<Spoken>): Seen {
  return { ...seen, spoken: seen.spoken.map((each, at) => (at === index ? { ...each, ...change } : each)) };
}

const said = (message: string): readonly Condition[] => [{ ...serving, reason: 'FieldsNotHonoured', message }];
const lacksOf = (seen: Seen): readonly (readonly [string, boolean])[] =>
  findLacks(seen).map(({ what, isNamed }) => [what, isNamed]);

describe('a case lacks nothing when it is served', () => {
  test.each([
    ['with a requested address', served('05-istio-ingressgateway', ['203.0.113.40'])],
    ['over TCP and UDP', served('04-traefik-http3', ['203.0.113.1'])],
    ['in both families', served('02-ingress-nginx-dualstack', ['203.0.113.1', '2001:db8:0:3::1'])],
    ['by three Services on one address', served('13-pihole', ['203.0.113.52'])],
    ['to its source ranges', served('29-zalando-postgres', ['203.0.113.1'])],
    ['over SCTP, which this kernel does not have', sctp(false)],
  ])('%s', (_, seen) => {
    expect(findLacks(seen)).toEqual([]);
  });

  test('by another implementation', () => {
    expect(findLacks(served('63-minecraft-tailscale', [], []))).toEqual([]);
  });
});

function sctp(isReported: boolean): Seen {
  const seen = served('62-sctp-echo', ['203.0.113.1'], isReported ? [{ ...serving, status: 'False' }] : [serving]);
  const failure: Answer = { failure: 'this kernel has no SCTP' };
  return withPort(seen, 0, { fromClient: failure, fromLan: failure });
}

describe('a case lacks', () => {
  const local = served('25-kafka-local', ['203.0.113.1']);
  const sticky = served('11-web-frontend-sticky', ['203.0.113.43']);
  test.each<[string, Seen, ...(readonly [string, boolean])[]]>([
    [
      'a port without an answer',
      withPort(served('53-kamaji', ['203.0.113.1']), 1, { fromClient: silence }),
      ['tcp', false],
    ],
    [
      'one without an answer on the LAN',
      withPort(served('53-kamaji', ['203.0.113.1']), 1, { fromLan: silence }),
      ['tcp', false],
    ],
    ['UDP', withPort(served('04-traefik-http3', ['203.0.113.1']), 2, { fromClient: silence }), ['udp', false]],
    ['SCTP that the Service refuses', sctp(true), ['sctp', true]],
    [
      'ports without NodePorts',
      served('28-einfra-postgres', [], [{ ...serving, status: 'False' }]),
      ['no-nodeports', true],
    ],
    [
      'its PROXY header',
      withPort(served('59-mailserver-proxy-protocol', ['203.0.113.1']), 3, { fromClient: silence }),
      ['proxy-protocol', false],
    ],
    ['its address, silently', served('05-istio-ingressgateway', ['203.0.113.1']), ['request-field', false]],
    [
      'its address, and says so',
      served('07-envoy-gateway-metallb-ip', [], said('203.0.113.41 is not in the pool')),
      ['request-annotation', true],
    ],
    ['DHCP', served('56-harvester-dhcp', ['203.0.113.1']), ['dhcp', false]],
    ['a family', served('02-ingress-nginx-dualstack', ['203.0.113.1']), ['dual-stack', false]],
    ['a pool', served('26-rabbitmq', ['203.0.113.1']), ['request-annotation', false], ['pool-annotation', false]],
    [
      'a pool, and says so',
      served(
        '23-mosquitto',
        ['203.0.113.1'],
        said('203.0.113.58; annotation metallb.io/address-pool: no pool is named'),
      ),
      ['request-field', true],
      ['pool-annotation', true],
    ],
    [
      'its source ranges',
      withPort(served('29-zalando-postgres', ['203.0.113.1']), 0, { fromLan: fromN1 }),
      ['source-ranges', false],
    ],
    [
      'the address of the client',
      withPort(local, 0, { fromClient: { ...fromN1, client: '192.0.2.51' } }),
      ['local', false],
    ],
    [
      'the address of the client on the LAN',
      withPort(local, 0, { fromLan: { ...fromN1, client: '192.0.2.51' } }),
      ['local', false],
    ],
    ['nodes with Pods only', { ...local, onN1: [[fromN1, { ...fromN1, ms: 501 }]] }, ['local', false]],
    ['nodes with Pods at all', { ...local, onN1: [[fromN1, silence]] }, ['local', false]],
    ['affinity', { ...sticky, affine: [[fromN1, fromN2]] }, ['affinity', false]],
    [
      'affinity by its own words',
      served('11-web-frontend-sticky', ['203.0.113.43'], said('ignored: sessionAffinity=ClientIP')),
      ['affinity', true],
    ],
    [
      'a status that says that it is served',
      served('53-kamaji', ['203.0.113.1'], said('ignored: a field')),
      ['its status', false],
    ],
    ['nothing of ours in another class', served('63-minecraft-tailscale', []), ['foreign-class', false]],
  ])('%s', (_, seen, ...expected) => {
    expect(lacksOf(seen)).toEqual(expected);
  });

  test('a shared address', () => {
    const seen = served('14-adguard-home', ['203.0.113.1']);
    const [tcp, udp] = [...seen.live.values()];
    if (tcp === undefined || udp === undefined) throw new Error('the case has two Services');
    const moved = { ...udp, status: { ...udp.status, loadBalancer: { ingress: [{ ip: '203.0.113.2' }] } } };
    expect(addressesOf(moved)).not.toEqual(addressesOf(tcp));
    const live = new Map([tcp, moved].map((service) => [service.metadata.name, service]));
    expect(lacksOf({ ...seen, live })).toEqual([['shared', false]]);
  });
});
