import { expect, test } from 'vitest';
import { systemClock } from './node/clock.ts';
import { recordLog } from '../../test/sim/observers.ts';
import type { HostParts } from './host-parts.ts';
import { removeFromHost } from './remove-from-host.ts';

type Removed = Pick<HostParts, 'steering' | 'direct' | 'nat' | 'proxy' | 'placement'>;

/** The parts of a host, some of which fail; `asked` has the requests to them. */
function partsThatFail(...failing: readonly string[]): { readonly parts: Removed; readonly asked: readonly string[] } {
  const asked: string[] = [];
  const part = (name: string) => async (): Promise<void> => {
    asked.push(name);
    if (failing.includes(name)) throw new Error(`${name} is busy`);
  };
  const parts = {
    steering: { remove: part('nft') },
    direct: { remove: part('direct') },
    nat: { remove: part('nat') },
    proxy: { stop: part('haproxy') },
    placement: { remove: part('ip') },
  } as unknown as Removed;
  return { parts, asked };
}

test('all parts are removed', async () => {
  const { parts, asked } = partsThatFail();
  await removeFromHost(parts, { clock: systemClock, log: recordLog() });
  expect(asked).toEqual(['nft', 'direct', 'nat', 'haproxy', 'ip']);
});

test('a failure does not block the others, and all failures are reported', async () => {
  const { parts, asked } = partsThatFail('nft', 'ip');
  await expect(removeFromHost(parts, { clock: systemClock, log: recordLog() })).rejects.toMatchObject({
    code: 'START',
    message: expect.stringMatching(/nft is busy.*; addresses \(ip is busy\).*furiwake cleanup/),
  });
  expect(asked).toEqual(['nft', 'direct', 'nat', 'haproxy', 'ip']);
});
