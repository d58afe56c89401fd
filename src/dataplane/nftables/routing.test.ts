import { PassThrough } from 'node:stream';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { systemClock } from '../../main/node/clock.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import { makeRouting, type Routing } from './routing.ts';

const { signal } = new AbortController();

type IpProgram = { readonly exec: Exec; readonly changes: string[]; readonly starts: string[]; isThere: boolean };

/** `ip` with a record of its changes and of the starts of processes that stay open; `refuse`: its answer to commands of IPv6. */
function makeIp(refuse: ExecError): IpProgram {
  const rule = { fwmark: '0x2000', fwmask: '0x2000', table: '8192' };
  const route = { type: 'local', dst: 'default', dev: 'lo' };
  const answerTo = (commands: string): string =>
    [rule, ...(commands.includes('route list') ? [route] : [])]
      .map((each) => `${JSON.stringify(ip.isThere ? [each] : [])}\n`)
      .join('');
  const exec: Exec = {
    run: (_, args, { stdin = '' }) => {
      const isChange = !stdin.includes(' list ');
      if (isChange) ip.changes.push(`${args[0]} ${stdin}`);
      if (args[0] === '-6') return Promise.reject(refuse);
      if (isChange) ip.isThere = true;
      if (!ip.isThere && stdin.includes('route list')) return Promise.reject(new ExecError('ip', 2, 'no such table'));
      return Promise.resolve({ stdout: isChange ? '' : answerTo(stdin), stderr: '' });
    },
    spawn: (_, args) => {
      ip.starts.push(args.join(' '));
      const output = new PassThrough();
      return {
        pid: 1,
        write: async (text) => (ip.isThere ? void output.write(answerTo(text)) : void output.end()),
        lines: createInterface({ input: output }),
        takeErrors: () => 'ipv4: FIB table does not exist',
        exited: Promise.resolve(2),
        [Symbol.asyncDispose]: async () => void output.end(),
      };
    },
  };
  const ip: IpProgram = { exec, changes: [], starts: [], isThere: false };
  return ip;
}

const noIpv6 = new ExecError('ip', 1, 'RTNETLINK answers: Address family not supported by protocol');
const routingOf = ({ exec }: IpProgram): Routing => makeRouting({ exec, clock: systemClock, lifetime: signal });

test('a kernel without IPv6 gets only the rule of IPv4', async () => {
  const ip = makeIp(noIpv6);
  const routing = routingOf(ip);
  expect(await routing.ensure(signal)).toEqual([4]);
  expect(await routing.ensure(signal)).toEqual([]);
  expect(ip.changes.map((change) => change.slice(0, 2))).toEqual(['-4']);
  await routing.remove(signal);
});

test('a program that did not run gives no answer', async () => {
  const ip = makeIp(new ExecError('ip', undefined, 'no end within 10000 ms'));
  await expect(routingOf(ip).ensure(signal)).rejects.toThrow('no end within');
});

test('rules that were in force are read again by one process that stays open, and added when they are gone', async () => {
  const ip = makeIp(noIpv6);
  const routing = routingOf(ip);
  await routing.ensure(signal);
  ip.changes.length = 0;
  for (let count = 0; count < 3; count++) expect(await routing.ensure(signal)).toEqual([]);
  expect(ip.starts).toEqual(['-4 -json -batch -']);
  expect(ip.changes).toEqual([]);
  ip.isThere = false;
  expect(await routing.ensure(signal)).toEqual([4]);
  expect(await routing.ensure(signal)).toEqual([]);
  expect(ip.starts).toHaveLength(2);
});

test('a host on which IPv6 is switched off gets the rule of IPv6 once, although its route is refused', async () => {
  const changes: string[] = [];
  const kernel = { rule: false, isOff: true };
  const exec: Pick<Exec, 'run'> = {
    run: (_, args, { stdin = '' }) => {
      if (args[0] === '-4') return Promise.reject(noIpv6);
      if (stdin.includes(' list ')) {
        if (stdin.includes('route list') && kernel.isOff)
          return Promise.reject(new ExecError('ip', 1, 'ipv6: FIB table does not exist'));
        const rules = kernel.rule ? [{ fwmark: '0x2000', fwmask: '0x2000', table: '8192' }] : [];
        const routes = kernel.isOff ? [] : [{ type: 'local', dst: 'default', dev: 'lo' }];
        const lists = [
          ...(stdin.includes('rule list') ? [rules] : []),
          ...(stdin.includes('route list') ? [routes] : []),
        ];
        return Promise.resolve({ stdout: lists.map((each) => `${JSON.stringify(each)}\n`).join(''), stderr: '' });
      }
      changes.push(...stdin.trim().split('\n'));
      kernel.rule = true;
      return kernel.isOff
        ? Promise.reject(new ExecError('ip', 1, 'Error: IPv6 is disabled on nexthop device.\nCommand failed -:2'))
        : Promise.resolve({ stdout: '', stderr: '' });
    },
  };
  const routing = makeRouting({ exec: { ...makeIp(noIpv6).exec, ...exec }, clock: systemClock, lifetime: signal });
  for (let count = 0; count < 3; count++) expect(await routing.ensure(signal)).toEqual([]);
  expect(changes.filter((line) => line.startsWith('rule'))).toEqual([expect.stringContaining('rule add')]);
});
