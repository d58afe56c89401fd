import { expect, test } from 'vitest';
import { type Exec, ExecError } from '../../ports/exec.ts';
import { makeRouting } from './routing.ts';

const { signal } = new AbortController();

/** `ip` with a record of its changes; `refuse`: its answer to commands of IPv6. */
function makeIp(refuse: ExecError): { readonly exec: Exec; readonly changes: string[] } {
  const changes: string[] = [];
  let isThere = false;
  const rule = { fwmark: '0x2000', fwmask: '0x2000', table: '8192' };
  const route = { type: 'local', dst: 'default', dev: 'lo' };
  const exec: Exec = {
    run: (_, args, { stdin = '' }) => {
      const isChange = !stdin.includes(' list ');
      if (isChange) changes.push(`${args[0]} ${stdin}`);
      if (args[0] === '-6') return Promise.reject(refuse);
      if (isChange) isThere = true;
      if (!isThere && stdin.includes('route list')) return Promise.reject(new ExecError('ip', 2, 'no such table'));
      const listed = [rule, ...(stdin.includes('route list') ? [route] : [])];
      const lines = listed.map((each) => `${JSON.stringify(isThere ? [each] : [])}\n`);
      return Promise.resolve({ stdout: isChange ? '' : lines.join(''), stderr: '' });
    },
    spawn: () => expect.unreachable(),
  };
  return { exec, changes };
}

test('a kernel without IPv6 gets only the rule of IPv4', async () => {
  const { exec, changes } = makeIp(
    new ExecError('ip', 1, 'RTNETLINK answers: Address family not supported by protocol'),
  );
  const routing = makeRouting({ exec });
  expect(await routing.ensure(signal)).toEqual([4]);
  expect(await routing.ensure(signal)).toEqual([]);
  expect(changes.map((change) => change.slice(0, 2))).toEqual(['-4']);
  await routing.remove(signal);
});

test('a program that did not run gives no answer', async () => {
  const { exec } = makeIp(new ExecError('ip', undefined, 'no end within 10000 ms'));
  await expect(makeRouting({ exec }).ensure(signal)).rejects.toThrow('no end within');
});
