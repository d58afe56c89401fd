import { expect, test } from 'vitest';
import { clientOf, refuse } from '../../test/make/client.ts';
import { makeSite } from '../../test/make/service.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { ourFinalizers } from '../core/model/contract.ts';
import { isAnyServed } from './any-served.ts';

const site = makeSite([], { loadBalancerClass: 'a', takesDefaultClass: false });
const { signal } = new AbortController();

function wire(loadBalancerClass: string, finalizers: readonly string[] = ourFinalizers): object {
  return { metadata: { namespace: 'ns', name: 'web', finalizers }, spec: { type: 'LoadBalancer', loadBalancerClass } };
}

test.each([
  ['no Services', [], false],
  ['one of another class with the finalizer', [wire('b')], false],
  ['one of this class with the finalizer of another controller', [wire('a', ['else/where'])], false],
  ['one of this class with the finalizer, on the second page', [wire('b'), wire('a')], true],
])('with %s: %j', async (_, wires, expected) => {
  const client = clientOf(({ query }) => {
    const index = Number(query?.['continue'] ?? 0);
    const next = index + 1 < wires.length ? String(index + 1) : '';
    return { items: wires.slice(index, index + 1), metadata: { continue: next } };
  });
  expect(await isAnyServed({ client, site, clock: virtualClock() }, signal)).toBe(expected);
});

test('an API server that refuses the list leaves it open: a Service may be served', async () => {
  const client = clientOf((asked) => refuse('UNREACHABLE', asked));
  expect(await isAnyServed({ client, site, clock: virtualClock() }, signal)).toBe(true);
});

test('an API server that does not answer is asked for five seconds', async () => {
  const clock = virtualClock();
  const client = {
    list: async (_: string, options?: { readonly signal?: AbortSignal }): Promise<never> => {
      await clock.sleep(60_000, options?.signal ?? signal);
      throw new Error('too late');
    },
  };
  expect(await clock.drive(isAnyServed({ client, site, clock }, signal))).toBe(true);
  expect(clock.monotonic()).toBe(5_000);
});
