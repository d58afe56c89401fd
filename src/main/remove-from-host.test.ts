import { expect, test } from 'vitest';
import { systemClock } from './node/clock.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { HostParts } from './host-parts.ts';
import { removeFromHost } from './remove-from-host.ts';

type Removed = Pick<HostParts, 'steering' | 'direct' | 'nat' | 'proxy' | 'placement'>;

/** The parts of a host, some of which fail, hang or do not exist; `asked` has the requests to them. */
function partsOf({
  failing = [],
  hanging = [],
  absent = [],
}: {
  readonly failing?: readonly string[];
  readonly hanging?: readonly string[];
  readonly absent?: readonly string[];
}): { readonly parts: Removed; readonly asked: readonly string[] } {
  const asked: string[] = [];
  const part =
    (name: string) =>
    async (signal: AbortSignal): Promise<boolean> => {
      signal.throwIfAborted();
      asked.push(name);
      if (failing.includes(name)) throw new Error(`${name} is busy`);
      if (hanging.includes(name)) await new Promise(() => undefined); // not even at the abort of its signal
      return !absent.includes(name);
    };
  const remove = part('ip');
  const parts = {
    steering: { remove: part('nft') },
    direct: { remove: part('direct') },
    nat: { remove: part('nat') },
    proxy: { stop: part('haproxy') },
    placement: { remove: (_: unknown, signal: AbortSignal) => remove(signal) },
  } as unknown as Removed;
  return { parts, asked };
}

test('all parts are removed, the addresses first, and the log names those that existed', async () => {
  const { parts, asked } = partsOf({ absent: ['direct', 'ip'] });
  const log = recordLog();
  await removeFromHost(parts, { clock: systemClock, log });
  expect(asked).toEqual(['ip', 'nft', 'direct', 'nat', 'haproxy']);
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
    message: expect.stringMatching(/the addresses \(ip is busy\), .*\(nft is busy\).*furiwake cleanup/),
  });
  expect(asked).toEqual(['ip', 'nft', 'direct', 'nat', 'haproxy']);
});

const partNames = ['ip', 'nft', 'direct', 'nat', 'haproxy'];

test.each(partNames)('while %s hangs, all others are removed, and only it is reported', async (hanging) => {
  const clock = virtualClock();
  const { parts, asked } = partsOf({ hanging: [hanging] });
  const log = recordLog();
  const done = removeFromHost(parts, { clock, log }).then(() => undefined, String);
  await clock.advance(1_000);
  expect(asked).toEqual(partNames);
  const message = await clock.drive(done);
  expect(message).toMatch(/^[^()]*\(no answer for 30 s\)[^()]*$/);
  expect(log.lines.filter(({ level }) => level === 'error')).toHaveLength(1);
  expect(clock.monotonic()).toBeLessThan(60_000);
});
