import { expect, test } from 'vitest';
import { systemClock } from './node/clock.ts';
import { recordLog } from '../../test/sim/observers.ts';
import type { HostParts } from './host-parts.ts';
import { removeFromHost } from './remove-from-host.ts';

type Removed = Pick<HostParts, 'steering' | 'direct' | 'nat' | 'proxy' | 'placement'>;

/** The parts of a host, some of which fail and some of which do not exist; `asked` has the requests to them. */
function partsOf({
  failing = [],
  absent = [],
}: {
  readonly failing?: readonly string[];
  readonly absent?: readonly string[];
}): { readonly parts: Removed; readonly asked: readonly string[] } {
  const asked: string[] = [];
  const part = (name: string) => async (): Promise<boolean> => {
    asked.push(name);
    if (failing.includes(name)) throw new Error(`${name} is busy`);
    return !absent.includes(name);
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

test('all parts are removed, and the log names those that existed', async () => {
  const { parts, asked } = partsOf({ absent: ['direct', 'ip'] });
  const log = recordLog();
  await removeFromHost(parts, { clock: systemClock, log });
  expect(asked).toEqual(['nft', 'direct', 'nat', 'haproxy', 'ip']);
  expect(log.lines.map(({ message }) => message)).toEqual([
    'removed from this host: the nftables table of HAProxy with its routing rules, the nftables table of nat with its forwarding, HAProxy',
  ]);
});

test('on a host where furiwake configured nothing the log says so', async () => {
  const { parts } = partsOf({ absent: ['nft', 'direct', 'nat', 'haproxy', 'ip'] });
  const log = recordLog();
  await removeFromHost(parts, { clock: systemClock, log });
  expect(log.lines.map(({ message }) => message)).toEqual([
    'nothing to remove: this host has no configuration of furiwake',
  ]);
});

test('a failure does not block the others, and all failures are reported', async () => {
  const { parts, asked } = partsOf({ failing: ['nft', 'ip'] });
  await expect(removeFromHost(parts, { clock: systemClock, log: recordLog() })).rejects.toMatchObject({
    code: 'START',
    message: expect.stringMatching(/nft is busy.*, the addresses \(ip is busy\).*furiwake cleanup/),
  });
  expect(asked).toEqual(['nft', 'direct', 'nat', 'haproxy', 'ip']);
});
