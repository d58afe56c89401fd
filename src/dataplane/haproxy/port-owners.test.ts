import { expect, test } from 'vitest';
import { execOf } from '../../../test/make/exec.ts';
import { filesOf } from '../../../test/sim/harness.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import { makePortOwners } from './port-owners.ts';

const cmdline = 'haproxy\0-f\0/old/haproxy.cfg\0-p\0/old/haproxy.pid\0';

test('a HAProxy that no signal ends is an error after ten seconds, then at once until it ends', async () => {
  const clock = virtualClock();
  const signals: string[] = [];
  let looks = 0;
  let isThere = true;
  const owners = makePortOwners({
    exec: execOf(() => {
      looks++;
      return isThere ? 'LISTEN 0 1 127.0.0.1:292 0.0.0.0:* users:(("haproxy",pid=70,fd=3))\n' : '';
    }),
    files: filesOf(new Map([['/proc/70/cmdline', cmdline]])),
    clock,
    kill: (pid, name) => signals.push(`${name} ${pid}`) > 0,
  });
  const evict = (): Promise<void> => clock.drive(owners.evict(['/new'], new AbortController().signal));
  const error = {
    code: 'HAPROXY_PORT_HELD',
    message: 'port 292 of 127.0.0.1 is held by haproxy (process 70): it survives SIGKILL, so restart this host',
  };
  await expect(evict()).rejects.toMatchObject(error);
  expect([...new Set(signals)]).toEqual(['SIGUSR1 70', 'SIGKILL 70']);
  expect(clock.monotonic()).toBeLessThan(11_000);
  expect(looks).toBeLessThan(40);

  const firstMs = clock.monotonic();
  await expect(evict()).rejects.toMatchObject(error);
  expect(clock.monotonic()).toBe(firstMs);

  isThere = false;
  await evict();
  isThere = true; // another process with the same ID
  signals.length = 0;
  await expect(evict()).rejects.toMatchObject(error);
  expect(signals[0]).toBe('SIGUSR1 70');
});
