import { expect, test } from 'vitest';
import { execOf } from '../../../test/make/exec.ts';
import { filesOf } from '../../../test/sim/harness.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import { makePortOwners } from './port-owners.ts';

test('a HAProxy that no signal ends is an error after ten seconds, not a loop', async () => {
  const clock = virtualClock();
  const signals: string[] = [];
  const owners = makePortOwners({
    exec: execOf(() => 'LISTEN 0 1 127.0.0.1:292 0.0.0.0:* users:(("haproxy",pid=70,fd=3))\n'),
    files: filesOf(new Map([['/proc/70/cmdline', 'haproxy\0-f\0/old/haproxy.cfg\0-p\0/old/haproxy.pid\0']])),
    clock,
    kill: (pid, name) => signals.push(`${name} ${pid}`) > 0,
  });
  await expect(clock.drive(owners.evict('/new', new AbortController().signal))).rejects.toMatchObject({
    code: 'HAPROXY_PORT_HELD',
    message: 'port 292 of 127.0.0.1 is held by haproxy (process 70): stop it',
  });
  expect([...new Set(signals)]).toEqual(['SIGUSR1 70', 'SIGKILL 70']);
  expect(clock.monotonic()).toBeLessThan(11_000);
});
