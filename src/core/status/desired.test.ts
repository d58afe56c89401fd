import { describe, expect, test } from 'vitest';
import { makeService, tcp, udp } from '../../../test/make/service.ts';
import { type Answer, conditions, statusOf } from '../../../test/make/status.ts';
import { parseIp } from '../ip/ip.ts';
import type { Revision } from '../revision.ts';
import { listenerKey } from '../traffic/table.ts';

const refused: Answer = (revision) => ({
  refusal: { revision: revision!, verdict: { reason: 'DataplaneError', message: 'nft: no such thing' } },
});
const old = 'old' as Revision;

describe('the status of a Service', () => {
  test('publishes its address as a proxy’s, with every port, when all listeners are ready', () => {
    const status = statusOf([makeService('a', { ports: [tcp(80), tcp(443)] })]);
    const ports = [80, 443].map((port) => ({ port, protocol: 'TCP' }));
    expect(status?.ingress).toEqual([{ ip: '192.0.2.8', hostname: undefined, ipMode: 'Proxy', ports }]);
    expect(conditions(status)).toEqual({ AddressAssigned: 'True Assigned', Serving: 'True Serving' });
  });

  test.each([
    ['VIP', { ports: [udp(53)], dataplane: 'direct' }],
    ['VIP', { ports: [tcp(53), udp(53)], dataplane: 'direct', ipFamilies: [4, 6] as const }],
    ['VIP', { ports: [tcp(53, 0)], dataplane: 'direct' }],
    ['Proxy', { dataplane: 'haproxy' }],
    ['Proxy', { dataplane: 'Direct' }],
    ['Proxy', {}],
  ])('publishes its addresses with ipMode %s for %j', (ipMode, spec) => {
    const modes = statusOf([makeService('a', spec)])?.ingress.map((entry) => entry.ipMode);
    expect(new Set(modes)).toEqual(new Set([ipMode]));
  });

  test('of direct is published before the host knows that it is, and stays while the host follows', () => {
    const service = makeService('a', { ports: [udp(53)], dataplane: 'direct' });
    const first = statusOf([service]);
    expect(conditions(first)).toEqual({ AddressAssigned: 'True Assigned', Serving: 'True Serving' });
    const shown = { ...service, status: { ...service.status, ...first } };
    expect(statusOf([shown])).toEqual(first);
    expect(statusOf([shown], { answer: () => ({ revision: 'of the unpublished listener' as Revision }) })).toBe(
      undefined,
    );
  });

  test('is not known while the host has not reported on a listener', () => {
    expect(statusOf([makeService('a')], { answer: () => undefined })).toBeUndefined();
  });

  test('publishes both families, in the order of the Service', () => {
    expect(statusOf([makeService('a', { ipFamilies: [6, 4] })])?.ingress.map((entry) => entry.ip)).toEqual([
      '2001:db8::8',
      '192.0.2.8',
    ]);
  });

  test('publishes nothing new when the dataplane refused, and quotes it', () => {
    const status = statusOf([makeService('a')], { answer: refused });
    expect(status?.ingress).toEqual([]);
    expect(conditions(status)).toMatchObject({ Serving: 'False DataplaneError' });
  });

  test.each<[string, ReturnType<Answer>, boolean]>([
    ['keeps a published address when a change to it was refused: the old state serves', { revision: old }, true],
    ['keeps one when nothing could be programmed since a restart: the host may still carry it', {}, true],
    ['withdraws one that the host carries no part of', { holder: undefined }, false],
    ['withdraws one that another Service has on the host', { holder: makeService('b').key }, false],
  ])('%s', (_, report, isKept) => {
    const published = {
      ip: '192.0.2.8',
      hostname: undefined,
      ipMode: 'Proxy',
      ports: [{ port: 80, protocol: 'TCP' }],
    };
    const service = makeService('a', {}, { status: { ingress: [published], ingressManager: 'furiwake' } });
    const status = statusOf([service], { answer: (...of) => ({ ...refused(...of), ...report }) });
    expect(status?.ingress).toEqual(isKept ? [published] : []);
    expect(conditions(status)).toMatchObject({ Serving: 'False DataplaneError' });
  });

  const absentWhere =
    (isAbsent: (family: number) => boolean): Answer =>
    (revision, { family, text }) => ({
      revision,
      isForwarding: true,
      refusal: isAbsent(family)
        ? { revision: revision!, verdict: { reason: 'AddressNotOnHost', message: `${text} is not here` } }
        : undefined,
    });

  test('keeps an address that is no longer on the host, and says that it is not served', () => {
    const service = makeService('a', { ipFamilies: [4, 6] });
    const ingress = statusOf([service])!.ingress;
    const published = { ...service, status: { ...service.status, ingress } };
    const none = statusOf([published], { answer: absentWhere(() => true) });
    expect(none?.ingress).toEqual(ingress);
    expect(conditions(none)).toMatchObject({ Serving: 'False AddressNotOnHost' });
    expect(none?.conditions.at(-1)?.message).toBe('192.0.2.8 is not here; 2001:db8::8 is not here');
    const one = statusOf([published], { answer: absentWhere((family) => family === 6) });
    expect(one?.ingress).toEqual(ingress);
    expect(conditions(one)).toMatchObject({ Serving: 'True PartlyServing' });
    expect(one?.conditions.at(-1)?.message).toBe('2001:db8::8 is not here');
  });

  const failing: Answer = (revision) => ({ revision, isForwarding: true, isFailing: true });

  test('says that no server takes connections when each fails a check of its own', () => {
    const status = statusOf([makeService('a')], { answer: failing });
    expect(status?.ingress).toHaveLength(1);
    expect(conditions(status)).toMatchObject({ Serving: 'False NoServers' });
    expect(status?.conditions.at(-1)?.message).toBe(
      'no server takes connections for 192.0.2.8: each one fails its own check, or its node is drained or silent',
    );
    const withoutEndpoints = statusOf([makeService('a')], { answer: failing, hasEndpoints: false });
    expect(conditions(withoutEndpoints)).toMatchObject({ Serving: 'False NoEndpoints' });
  });

  test('says that HAProxy does not serve, names the ports that it serves, and keeps the address', () => {
    const answer: Answer = (revision) => ({ revision, isForwarding: true, proxyTrouble: 'no memory' });
    const status = statusOf([makeService('a', { ports: [tcp(80), tcp(443)] })], { answer });
    expect(status?.ingress).toHaveLength(1);
    expect(conditions(status)).toMatchObject({ Serving: 'False HaproxyDown' });
    const message = 'no connections to 192.0.2.8, because HAProxy does not serve: no memory';
    expect(status?.conditions.at(-1)?.message).toBe(message);
    let count = 0;
    const one: Answer = (revision) => ({
      revision,
      isForwarding: true,
      proxyTrouble: ++count === 1 ? 'no memory' : undefined,
    });
    const partly = statusOf([makeService('a', { ports: [tcp(80), udp(53)] })], { answer: one });
    expect(conditions(partly)).toMatchObject({ Serving: 'True PartlyServing' });
    expect(partly?.conditions.at(-1)?.message).toContain('no connections to port ');
  });

  test('says that the nftables table cannot be restored, and keeps the address', () => {
    const answer: Answer = (revision) => ({ revision, isForwarding: true, tableTrouble: 'nft: no memory' });
    const status = statusOf([makeService('a')], { answer });
    expect(conditions(status)).toMatchObject({ Serving: 'False NftablesDown' });
    expect([status?.ingress.length, status?.conditions.at(-1)?.message]).toEqual([
      1,
      expect.stringMatching(/^connections to 192.0.2.8 may be refused: .+: nft: no memory$/),
    ]);
  });

  test('says that servers refuse the header of the PROXY protocol, and is served', () => {
    const answer: Answer = (revision) => ({ revision, isForwarding: true, isHeaderRefused: true });
    const status = statusOf([makeService('a', { ports: [tcp(80), tcp(443)] })], { answer });
    expect(conditions(status)).toMatchObject({ Serving: 'True HeaderRefused' });
    expect(status?.conditions.at(-1)?.message).toBe(
      'servers of ports 80, 443 close connections because of the PROXY protocol header: they do not seem to expect it',
    );
  });

  test('says that it is drained, whatever its servers do, and keeps the address', () => {
    const service = makeService('a', { ports: [tcp(80), tcp(443)] });
    const status = statusOf([service], { answer: failing, drainedServices: new Set([service.key]) });
    expect(status?.ingress).toHaveLength(1);
    expect(conditions(status)).toMatchObject({ Serving: 'False Drained' });
    expect(status?.conditions.at(-1)?.message).toBe(
      'no new connections to 192.0.2.8, existing ones continue: an administrator drains the Service',
    );
  });

  test('says that HAProxy does not serve before it says that the Service is drained', () => {
    const answer: Answer = (revision) => ({ revision, isForwarding: true, proxyTrouble: 'no memory' });
    const service = makeService('a', { ports: [tcp(80), tcp(443)] });
    const status = statusOf([service], { answer, drainedServices: new Set([service.key]) });
    expect(conditions(status)).toMatchObject({ Serving: 'False HaproxyDown' });
    expect(status?.conditions.at(-1)?.message).toBe(
      'no connections to 192.0.2.8, because HAProxy does not serve: no memory; ' +
        'no new connections to 192.0.2.8, existing ones continue: an administrator drains the Service',
    );
  });

  test('says that ports of nat are drained, and which port of direct is not', () => {
    const service = makeService('a', { dataplane: 'nat', ports: [tcp(53), udp(54)] });
    const drainedServices = new Set([service.key]);
    expect(conditions(statusOf([service], { drainedServices }))).toMatchObject({ Serving: 'False Drained' });
    const direct = makeService('a', { dataplane: 'direct', ports: [tcp(53), tcp(54, 0)] });
    const status = statusOf([direct], { drainedServices });
    expect(conditions(status)).toMatchObject({ Serving: 'True PartlyServing' });
    const message = status?.conditions.at(-1)?.message;
    expect(message).toContain('no new connections to port 53 of 192.0.2.8, ');
    expect(message).toContain('port 54 is not drained: it has no nodePort, and direct, which serves it, takes');
    const alone = statusOf([makeService('a', { dataplane: 'direct', ports: [tcp(54, 0)] })], { drainedServices });
    expect(conditions(alone)).toMatchObject({ Serving: 'True Drained' });
  });

  test('names the port without a server, and serves the other one', () => {
    let count = 0;
    const answer: Answer = (revision) => ({ revision, isForwarding: true, isFailing: ++count === 2 });
    const status = statusOf([makeService('a', { ports: [tcp(80), tcp(443)] })], { answer });
    expect(conditions(status)).toMatchObject({ Serving: 'True PartlyServing' });
    expect(status?.conditions.at(-1)?.message).toMatch(
      /^no server takes connections for port (?:80|443) of 192\.0\.2\.8: /,
    );
  });

  test('serves the port that can be served, and names the other one', () => {
    const status = statusOf([makeService('a', { ports: [tcp(53), udp(53, 0)], dataplane: 'haproxy' })]);
    expect(status?.ingress[0]?.ports).toEqual([
      { port: 53, protocol: 'TCP' },
      { port: 53, protocol: 'UDP', error: 'furiwake.dev/NodePortMissing' },
    ]);
    expect(conditions(status)).toEqual({
      AddressAssigned: 'True Assigned',
      Serving: 'True PartlyServing',
      LoadBalancerPortsError: 'True NodePortMissing',
    });
  });

  test('serves TCP, UDP and SCTP on one address, with ipMode Proxy', () => {
    const status = statusOf([makeService('a', { ports: [tcp(53), udp(53), { ...tcp(132), protocol: 'SCTP' }] })]);
    expect(status?.ingress).toMatchObject([{ ipMode: 'Proxy', ports: [{}, {}, {}] }]);
    expect(conditions(status)).toEqual({ AddressAssigned: 'True Assigned', Serving: 'True Serving' });
  });

  test('of a Service without nodePorts is the condition and no address', () => {
    const status = statusOf([makeService('a', { ports: [tcp(80, 0)], dataplane: 'haproxy' })]);
    expect(status?.ingress).toEqual([]);
    expect(conditions(status)).toEqual({
      AddressAssigned: 'False NodePortMissing',
      Serving: 'False NodePortMissing',
      LoadBalancerPortsError: 'True NodePortMissing',
    });
  });

  test('moves lastTransitionTime only when a condition turns', () => {
    const first = statusOf([makeService('a')], { nowMs: 1_000 });
    const again = statusOf(
      [makeService('a', { sessionAffinity: 'ClientIP' }, { status: { conditions: first?.conditions ?? [] } })],
      { nowMs: 9_000 },
    );
    expect(again?.conditions.map((each) => each.lastTransitionTime)).toEqual([
      '1970-01-01T00:00:01Z',
      '1970-01-01T00:00:01Z',
    ]);
    const turned = statusOf([makeService('a', {}, { status: { conditions: first?.conditions ?? [] } })], {
      nodes: [],
      nowMs: 9_000,
    });
    expect(turned?.conditions.map((each) => each.lastTransitionTime)).toEqual([
      '1970-01-01T00:00:01Z',
      '1970-01-01T00:00:09Z',
    ]);
  });

  test('keeps the present condition objects if they say the same', () => {
    const first = statusOf([makeService('a')]);
    const again = statusOf([makeService('a', {}, { status: { conditions: first?.conditions ?? [] } })], {
      nowMs: 9_000,
    });
    expect(again?.conditions[0]).toBe(first?.conditions[0]);
  });

  test('refuses a port that another Service has on one of two addresses there only', () => {
    const services = [
      makeService('a', { ipFamilies: [4, 6], loadBalancerIp: '192.0.2.8' }, { createdAtMs: 2 }),
      makeService('b', { ipFamilies: [6], loadBalancerIp: '2001:db8::8' }, { createdAtMs: 1 }),
    ];
    expect(statusOf(services)?.ingress.map((entry) => entry.ip)).toEqual(['192.0.2.8']);
  });
});

test('settings that wait are said of their ports, which are served without them, and the address is published', () => {
  const answer: Answer = (revision) => ({
    revision: old,
    isForwarding: true,
    refusal: { revision: revision!, verdict: { reason: 'SettingsWaiting', message: 'the next reload is at noon' } },
  });
  const status = statusOf([makeService('a', { ports: [tcp(80), tcp(443)] })], { answer });
  expect(conditions(status)).toMatchObject({ Serving: 'True SettingsWaiting' });
  expect(status?.conditions.at(-1)?.message).toBe(
    'ports 80, 443 are served without new settings: the next reload is at noon',
  );
  expect(status?.ingress).toMatchObject([{ ip: '192.0.2.8' }]);
  const inForce: Answer = (revision, ...at) => ({ ...answer(old, ...at), revision }); // the refusal is of a former revision
  expect(conditions(statusOf([makeService('a')], { answer: inForce }))).toMatchObject({ Serving: 'True Serving' });
});

test('a condition about ports without endpoints stays until the endpoints are known', () => {
  const service = makeService('a', { ports: [tcp(80), tcp(81)] });
  const gaps = [listenerKey(parseIp('192.0.2.8')!, 81, 'TCP')];
  const partly = statusOf([service], { gaps });
  const none = statusOf([service], { gaps, hasEndpoints: false });
  expect([conditions(partly)['Serving'], conditions(none)['Serving']]).toEqual([
    'True PartlyServing',
    'False NoEndpoints',
  ]);
  for (const [shown, hasEndpoints] of [
    [partly, true],
    [none, false],
  ] as const) {
    const restarted = { ...service, status: { ...service.status, conditions: shown?.conditions ?? [] } };
    const message = (of: Parameters<typeof statusOf>[1]): string | undefined =>
      statusOf([restarted], { hasEndpoints, ...of })?.conditions.at(-1)?.message;
    expect(message({ gaps: 'not known' })).toBe(shown?.conditions.at(-1)?.message);
    expect(message({ gaps: 'not known', nodes: [] })).toContain('no node takes connections');
    expect(message({ hasEndpoints: true })).toBe('all ports are served');
  }
});
