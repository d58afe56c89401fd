import { expect, test } from 'vitest';
import { byKey, makeService, tcp } from '../../../test/make/service.ts';
import { serviceKey } from '../model/names.ts';
import type { Service } from '../model/service.ts';
import { makeProfileBudget } from './profile-budget.ts';

/** A Service whose profile has this idle timeout. */
function withTimeout(name: string, seconds: number, createdAtMs = 0, more: Partial<Service['spec']> = {}): Service {
  const options = [['furiwake.dev/idle-timeout', `${seconds}s`]] as const;
  return makeService(name, { options, ports: [tcp(80)], ...more }, { createdAtMs });
}

test('64 profiles exceed nothing, however many Services share them, and one more does', () => {
  const services = (profiles: number): readonly Service[] =>
    Array.from({ length: 1000 }, (_, index) => withTimeout(`s${index}`, 1 + (index % profiles), index));
  expect(makeProfileBudget()(byKey(services(64))).size).toBe(0);
  expect(makeProfileBudget()(byKey(services(65))).has(serviceKey('default', 's64'))).toBe(true);
});

test('of too many the youngest exceed, each with the one in use that is most like its own', () => {
  const budgetOf = makeProfileBudget(2);
  const like = [
    ['furiwake.dev/balance', 'leastconn'],
    ['furiwake.dev/idle-timeout', '9s'],
  ] as const;
  const services = [
    withTimeout('young', 3, 30, { options: like }),
    withTimeout('old', 1, 10),
    withTimeout('other', 2, 20, { options: [['furiwake.dev/balance', 'leastconn']] }),
    withTimeout('same', 1, 40),
  ];
  const excess = budgetOf(byKey(services));
  expect([...excess]).toEqual([['default/young', 'balance=leastconn']]);
  // The same result is the same object, and a free place is given away.
  expect(budgetOf(byKey([...services, makeService('plain')]))).toBe(excess);
  expect(budgetOf(byKey(services.filter(({ name }) => name !== 'other'))).size).toBe(0);
});

test('of several that have as many settings in common, the one with the nearest value is named', () => {
  const services = [withTimeout('short', 1, 10), withTimeout('long', 100, 20), withTimeout('young', 90, 30)];
  expect([...makeProfileBudget(2)(byKey(services))]).toEqual([['default/young', 'idle-timeout=100000ms']]);
});

test('a Service that HAProxy does not serve, or without a profile, or with HTTP mode alone, takes no place', () => {
  const services = [
    withTimeout('a', 1, 0, { dataplane: 'nat' }),
    withTimeout('b', 2, 0, { options: [['furiwake.dev/connection-rate', '5']] }),
    withTimeout('http', 2, 0, { options: [['furiwake.dev/http-mode', '80']] }),
    withTimeout('c', 3),
  ];
  expect(makeProfileBudget(1)(byKey(services)).size).toBe(0);
});

test('a Service with ports in both modes takes two places', () => {
  const options = [
    ['furiwake.dev/http-mode', '80'],
    ['furiwake.dev/balance', 'leastconn'],
  ] as const;
  const both = makeService('both', { options, ports: [tcp(80), tcp(443)] });
  expect(makeProfileBudget(2)(byKey([both])).size).toBe(0);
  const excess = makeProfileBudget(2)(byKey([withTimeout('old', 1, -1), both]));
  expect([...excess]).toEqual([['default/both', 'idle-timeout=1000ms']]);
});
