import { expect, test } from 'vitest';
import { execOf } from '../../../../test/make/exec.ts';
import { filesOf } from '../../../../test/sim/harness.ts';
import { virtualClock } from '../../../../test/sim/virtual-clock.ts';
import { makePortOwners, socketsOn } from './port-owners.ts';

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
    message: 'port 292 of 127.0.0.1 is held by haproxy (PID 70): it survives SIGKILL, so restart this host',
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

test.each([
  ['its parent, which has the same files', cmdline, 60],
  ['itself where its parent is another program', 'systemd\0', 70],
])('the master of the process on the port is %s', async (_, parent, master) => {
  const owners = makePortOwners({
    exec: execOf(() => 'LISTEN 0 1 127.0.0.1:292 0.0.0.0:* users:(("haproxy",pid=70,fd=3))\n'),
    files: filesOf(
      new Map([
        ['/proc/70/cmdline', cmdline],
        ['/proc/70/status', 'Name:\thaproxy\nPid:\t70\nPPid:\t60\n'],
        ['/proc/60/cmdline', parent],
      ]),
    ),
    clock: virtualClock(),
    kill: () => true,
  });
  const found = await owners.find(new AbortController().signal);
  expect(found).toEqual([{ name: 'haproxy', pid: 70, haproxy: { folder: '/old', master } }]);
});

test('a socket without a process is waited for: its process is just ending; after two seconds it is an error', async () => {
  const clock = virtualClock();
  let untilMs = 400;
  const owners = makePortOwners({
    exec: execOf(() => (clock.monotonic() < untilMs ? 'LISTEN 0 1 127.0.0.1:292 0.0.0.0:*\n' : '')),
    files: filesOf(new Map()),
    clock,
    kill: () => true,
  });
  const evict = (): Promise<void> => clock.drive(owners.evict(['/new'], new AbortController().signal));
  await evict();
  expect(clock.monotonic()).toBeGreaterThanOrEqual(400);
  untilMs = Infinity;
  await expect(evict()).rejects.toMatchObject({
    message: 'port 292 of 127.0.0.1 is held by an unknown process: stop it',
  });
  expect(clock.monotonic()).toBeLessThan(4_000);
});

const header = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
const socket = (local: string, state: string, inode: number): string =>
  `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0000 100 0 0 10 0\n`;

test('the sockets on a port are those that listen, known if their list is complete', () => {
  const others = `${socket('0100007F:0124', '01', 7)}${socket('0100007F:0124', '0A', 8)}`;
  const text = `${header}${socket('0100007F:0124', '0A', 12)}${socket('0100007F:0016', '0A', 5)}${socket('0100007F:0124', '0A', 11)}${others}`;
  expect(socketsOn(292, text)).toBe('11 12');
  expect(socketsOn(292, header)).toBe('');
  const many = header + socket('0100007F:0016', '0A', 5).repeat(1_000);
  expect(socketsOn(292, many.slice(0, 65_536))).toBeUndefined();
});

test('a port with the same sockets as before is checked without a program, and with one when a socket is new', async () => {
  const { signal } = new AbortController();
  const texts = new Map([['/proc/70/cmdline', cmdline]]);
  const list = (...inodes: readonly number[]): void => {
    const lines = inodes.map((inode) => socket('0100007F:0124', '0A', inode));
    texts.set('/proc/70/net/tcp', header + lines.join('')).set('/proc/70/net/tcp6', header);
  };
  let looks = 0;
  let line = 'LISTEN 0 1 127.0.0.1:292 0.0.0.0:* users:(("haproxy",pid=70,fd=3))\n';
  const exec = execOf(() => {
    looks++;
    return line;
  });
  const owners = makePortOwners({ exec, files: filesOf(texts), clock: virtualClock(), kill: () => true });
  const look = async (): Promise<number> => {
    looks = 0;
    await owners.keepClear(['/old'], signal);
    return looks;
  };
  list(11);
  expect([await look(), await look(), await look(), await look()]).toEqual([1, 1, 0, 0]);
  list(11, 12);
  line += 'LISTEN 0 1 127.0.0.1:292 0.0.0.0:* users:(("perl",pid=71,fd=3))\n';
  await expect(look()).rejects.toThrow('held by perl');
  await expect(look()).rejects.toThrow('held by perl');
  texts.delete('/proc/70/net/tcp');
  await expect(look()).rejects.toThrow('held by perl');
});
