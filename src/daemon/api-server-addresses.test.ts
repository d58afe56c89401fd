import { expect, test } from 'vitest';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { makeApiServerAddresses } from './api-server-addresses.ts';

const { signal } = new AbortController();

/** A resolver that gives these answers, one after the other; `undefined` is an error. */
function answering(...answers: (readonly string[] | undefined)[]) {
  const asked: string[] = [];
  const lookup = async (name: string): Promise<readonly { readonly address: string }[]> => {
    asked.push(name);
    const answer = answers.shift();
    if (answer === undefined) throw new Error(`ENOTFOUND ${name}`);
    return answer.map((address) => ({ address }));
  };
  return { asked, lookup };
}

test.each([
  ['https://192.0.2.2:6443', '192.0.2.2'],
  ['https://[2001:db8:0::2]:6443', '2001:db8::2'],
  ['http://[2001:db8::2]/prefix', '2001:db8::2'],
])('%s has its address without a resolver', async (server, expected) => {
  const { asked, lookup } = answering();
  const addresses = makeApiServerAddresses({ server, lookup, clock: virtualClock() });
  expect([...(await addresses(signal))]).toEqual([[expected, 'the API server']]);
  expect(asked).toEqual([]);
});

test('a name has all addresses that it resolves to', async () => {
  const { asked, lookup } = answering(['192.0.2.2', '2001:db8:0::2']);
  const addresses = makeApiServerAddresses({ server: 'https://api.example:6443', lookup, clock: virtualClock() });
  expect([...(await addresses(signal)).keys()]).toEqual(['192.0.2.2', '2001:db8::2']);
  expect(asked).toEqual(['api.example']);
});

test('a name that cannot be resolved is resolved later, and then not again', async () => {
  const { asked, lookup } = answering(undefined, undefined, ['192.0.2.2']);
  const addresses = makeApiServerAddresses({ server: 'https://api.example', lookup, clock: virtualClock() });
  const seen: string[] = [];
  for (let call = 0; call < 4; call++) seen.push([...(await addresses(signal)).keys()].join());
  expect(seen).toEqual(['', '', '192.0.2.2', '192.0.2.2']);
  expect(asked).toHaveLength(3);
});

test('a resolver that is slow is waited for 2 s once, and its late answer counts', async () => {
  const clock = virtualClock();
  const answer = Promise.withResolvers<readonly { readonly address: string }[]>();
  let asked = 0;
  const lookup = (): typeof answer.promise => {
    asked++;
    return answer.promise;
  };
  const addresses = makeApiServerAddresses({ server: 'https://api.example', lookup, clock });
  for (let call = 0; call < 3; call++) expect([...(await clock.drive(addresses(signal)))]).toEqual([]);
  expect([clock.monotonic(), asked]).toEqual([2_000, 1]);
  answer.resolve([{ address: '192.0.2.2' }]);
  await clock.advance(0);
  expect([...(await addresses(signal)).keys()]).toEqual(['192.0.2.2']);
});

test('the end of the program ends the wait for a resolver', async () => {
  const stop = new AbortController();
  const lookup = (): Promise<never> => new Promise(() => undefined);
  const addresses = makeApiServerAddresses({ server: 'https://api.example', lookup, clock: virtualClock() });
  const resolving = addresses(stop.signal);
  stop.abort(new Error('ended'));
  await expect(resolving).rejects.toThrow('ended');
});
