import { expect, test } from 'vitest';
import { makeService, tcp } from '../../../test/make/service.ts';
import { type Answer, conditions, statusOf } from '../../../test/make/status.ts';
import type { Ip } from '../ip/ip.ts';

test('a status keeps an address that another machine answers for, and publishes no new one', () => {
  const service = makeService('a', { ipFamilies: [4, 6] });
  const { ingress = [] } = statusOf([service]) ?? {};
  const published = { ...service, status: { ...service.status, ingress } };
  const left =
    (isLeft: (family: number) => boolean): Answer =>
    (revision, { family, text }) =>
      isLeft(family)
        ? {
            holder: undefined,
            revision: undefined,
            refusal: {
              revision: revision!,
              verdict: { reason: 'AnsweredElsewhere', message: `${text} is not here` },
            },
          }
        : { revision, isForwarding: true };
  const none = statusOf([published], { answer: left(() => true) });
  expect([none?.ingress, conditions(none)['Serving']]).toEqual([ingress, 'False AnsweredElsewhere']);
  const one = statusOf([published], { answer: left((family) => family === 6) });
  expect([one?.ingress, conditions(one)['Serving']]).toEqual([ingress, 'True PartlyServing']);
  expect(statusOf([service], { answer: left(() => true) })?.ingress).toEqual([]);
});

/** Of a host that has just taken over: it carries nothing yet. */
const refused =
  (reasonOf: (ip: Ip, port: number) => 'HaproxyDown' | 'HaproxyUnchanged' | 'DataplaneError' | undefined): Answer =>
  (revision, address, { port }) => {
    const reason = reasonOf(address, port);
    if (reason === undefined) return { revision, isForwarding: true };
    return { holder: undefined, refusal: { revision: revision!, verdict: { reason, message: reason } } };
  };

test('a published address stays while HAProxy takes no connections for one of its ports; others, and former ones, do not', () => {
  const service = makeService('a', { ipFamilies: [4, 6], ports: [tcp(80), tcp(443)] });
  const { ingress = [] } = statusOf([service]) ?? {};
  const former = { ip: '192.0.2.9', hostname: undefined, ipMode: 'Proxy', ports: [{ port: 80, protocol: 'TCP' }] };
  const published = { ...service, status: { ...service.status, ingress: [former, ...ingress] } };
  const shown = (reasonOf: Parameters<typeof refused>[0]): readonly unknown[] =>
    statusOf([published], { answer: refused(reasonOf) })?.ingress.map(({ ip }) => ip) ?? [];
  const [four, six] = ['192.0.2.8', '2001:db8::8'];
  for (const reason of ['HaproxyDown', 'HaproxyUnchanged'] as const) expect(shown(() => reason)).toEqual([four, six]);
  expect(shown((_, port) => (port === 80 ? 'HaproxyDown' : undefined))).toEqual([four, six]);
  expect(shown((_, port) => (port === 80 ? 'HaproxyDown' : 'DataplaneError'))).toEqual([four, six]);
  expect(shown((_, port) => (port === 80 ? 'DataplaneError' : 'HaproxyDown'))).toEqual([four, six]);
  expect(shown(({ family }) => (family === 4 ? 'HaproxyDown' : 'DataplaneError'))).toEqual([four]);
  expect(shown(() => 'DataplaneError')).toEqual([]);
  expect(statusOf([service], { answer: refused(() => 'HaproxyDown') })?.ingress).toEqual([]);
});
