import { afterAll, beforeAll, expect, test } from 'vitest';
import { type NetLab, startNetLab } from '../../../test/netns/net-lab.ts';
import { patience } from '../../../test/netns/patience.ts';
import { type Ip, parseIp } from '../../core/ip/ip.ts';
import type { Listener } from '../../core/traffic/table.ts';
import { makeHost } from './host.ts';

const { signal } = new AbortController();
let lab: NetLab;
const warnings: string[] = [];

beforeAll(async () => {
  lab = await startNetLab({ nodes: 0 });
  for (const [at, port] of [
    ['0.0.0.0', 25],
    ['fd10::1', 25],
    ['10.10.0.1', 26],
  ] as const)
    await lab.balancer.ask({ do: 'serveLines', address: at, port, greeting: 'hello' });
});
afterAll(() => lab[Symbol.asyncDispose]());

const hostOf = (): ReturnType<typeof makeHost> =>
  makeHost({
    exec: lab.balancer.execPort,
    ownAddresses: () => Promise.resolve([address('10.10.0.1')]),
    log: {
      debug: () => undefined,
      info: () => undefined,
      warn: (_, message) => void warnings.push(message),
      error: () => undefined,
      child: () => expect.fail('no child'),
    },
  });

test('the facts are the own addresses and the listening sockets', async () => {
  const facts = await hostOf().facts(signal);
  expect(facts.ownAddresses.map(({ text }) => text)).toEqual(['10.10.0.1']);
  expect(facts.listening).toContainEqual({ address: undefined, family: 4, port: 25 });
  expect(facts.listening).toContainEqual({ address: address('fd10::1'), family: 6, port: 25 });
  expect(facts.listening).toContainEqual({ address: address('10.10.0.1'), family: 4, port: 26 });
});

test('the connections of a listener are reset, in both families, and no others', async () => {
  const four = await dial('10.10.0.1', 25);
  const six = await dial('fd10::1', 25);
  const other = await dial('10.10.0.1', 26);
  await hostOf().endConnections([listener('10.10.0.1', 25), listener('fd10::1', 25)], signal);
  await expect.poll(() => endOf(four), patience).toBe('reset');
  await expect.poll(() => endOf(six), patience).toBe('reset');
  await lab.client.ask({ do: 'say', id: other, text: ' again' });
  await expect
    .poll(() => lab.client.ask({ do: 'heard', id: other }), patience)
    .toEqual({ text: 'hello again', end: 'open' });
  expect(warnings).toEqual([]);
});

test('a listener without connections, and a list longer than one call takes, is no error', async () => {
  const id = await dial('10.10.0.1', 25);
  const many = Array.from({ length: 250 }, (_, i) => listener('10.10.0.1', 1000 + i));
  await hostOf().endConnections([], signal);
  await hostOf().endConnections(many, signal);
  await hostOf().endConnections([...many, listener('10.10.0.1', 25)], signal);
  await expect.poll(() => endOf(id), patience).toBe('reset');
  expect(warnings).toEqual([]);
});

async function dial(to: string, port: number): Promise<number> {
  const { id = 0 } = await lab.client.ask({ do: 'dial', address: to, port });
  await expect.poll(() => lab.client.ask({ do: 'heard', id }), patience).toEqual({ text: 'hello', end: 'open' });
  return id;
}

async function endOf(id: number): Promise<string | undefined> {
  return (await lab.client.ask({ do: 'heard', id })).end;
}

function address(text: string): Ip {
  const ip = parseIp(text);
  if (ip === undefined) throw new Error(text);
  return ip;
}

function listener(to: string, port: number): Listener {
  return { address: address(to), protocol: 'TCP', port };
}
