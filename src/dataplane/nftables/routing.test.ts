import { expect, test } from 'vitest';
import { type FakeIp, makeFakeIp } from '../../../test/make/fake-ip.ts';
import { systemClock } from '../../main/node/clock.ts';
import { ExecError } from '../../ports/exec.ts';
import { makeRouting, type Routing } from './routing.ts';

const { signal } = new AbortController();

const noIpv6 = 'RTNETLINK answers: Address family not supported by protocol';

type IpProgram = Pick<FakeIp, 'exec' | 'routes'> & { readonly changes: string[]; readonly starts: string[] };

/** `ip` with a record of its changes and of the starts of processes that stay open; `refuse`: the answer to commands of IPv6. */
function makeIp(refuse: (command: string) => string | undefined): IpProgram {
  const changes: string[] = [];
  const starts: string[] = [];
  const { exec, routes } = makeFakeIp({
    clock: systemClock,
    refuse: (command, family) => (family === 6 ? refuse(command) : undefined),
  });
  return {
    exec: {
      run: (file, args, options) => {
        if (options.stdin?.includes(' list ') === false) changes.push(`${args[0]} ${options.stdin}`);
        return exec.run(file, args, options);
      },
      spawn: (file, args, ends) => {
        starts.push(args.join(' '));
        return exec.spawn(file, args, ends);
      },
    },
    routes,
    changes,
    starts,
  };
}

const routingOf = ({ exec }: Pick<IpProgram, 'exec'>): Routing =>
  makeRouting({ exec, clock: systemClock, lifetime: signal });

test('a kernel without IPv6 gets only the rule of IPv4', async () => {
  const ip = makeIp(() => noIpv6);
  const routing = routingOf(ip);
  expect(await routing.ensure(signal)).toEqual([4]);
  expect(await routing.ensure(signal)).toEqual([]);
  expect(ip.changes.map((change) => change.slice(0, 2))).toEqual(['-4']);
  await routing.remove(signal);
});

test('a program that did not run gives no answer', async () => {
  const run = (): Promise<never> => Promise.reject(new ExecError('ip', undefined, 'timed out after 10000 ms'));
  const { exec } = makeIp(() => noIpv6);
  await expect(routingOf({ exec: { ...exec, run } }).ensure(signal)).rejects.toThrow('timed out after');
});

test('rules that were in force are read again by one process that stays open, and added when they are gone', async () => {
  const ip = makeIp(() => noIpv6);
  const routing = routingOf(ip);
  await routing.ensure(signal);
  ip.changes.length = 0;
  for (let count = 0; count < 3; count++) expect(await routing.ensure(signal)).toEqual([]);
  expect(ip.starts).toEqual(['-4 -json -batch -']);
  expect(ip.changes).toEqual([]);
  ip.routes.flush();
  expect(await routing.ensure(signal)).toEqual([4]);
  expect(await routing.ensure(signal)).toEqual([]);
  expect(ip.changes).toHaveLength(1);
});

test('a host on which IPv6 is switched off gets the rule of IPv6 once, although its route is refused', async () => {
  const ip = makeIp((command) => {
    if (command.startsWith('route list')) return 'Error: ipv6: FIB table does not exist.\nDump terminated';
    return command.startsWith('route replace') ? 'Error: IPv6 is disabled on nexthop device.' : undefined;
  });
  const routing = routingOf(ip);
  for (const added of [[4], [], []]) expect(await routing.ensure(signal)).toEqual(added);
  expect(ip.changes.filter((change) => change.includes('rule add') && change.startsWith('-6'))).toHaveLength(1);
});
