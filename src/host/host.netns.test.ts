import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type NetLab, startNetLab } from '../../test/netns/net-lab.ts';
import { patience } from '../../test/netns/patience.ts';
import { type Ip, parseIp } from '../core/ip/ip.ts';
import type { ListenerAddress } from '../core/traffic/table.ts';
import { makeHost } from './host.ts';

const { signal } = new AbortController();
let lab: NetLab;
const warnings: string[] = [];

/** HAProxy accepts the connections of listeners; those to port 40000 arrive through nftables. */
const proxy = `
defaults
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen all
    bind 0.0.0.0:25 transparent
    bind fd10::1:25 transparent
    bind 10.10.0.1:26 transparent
    bind 127.0.0.1:292 transparent
    bind ::1:292 transparent
    server hello 127.0.0.1:9025
`;
const interception = `table inet rig {
  chain pre {
    type filter hook prerouting priority mangle
    ip daddr 10.10.0.1 tcp dport 40000 tproxy ip to 127.0.0.1:292 accept
    ip6 daddr fd10::1 tcp dport 40000 tproxy ip6 to [::1]:292 accept
  }
}`;

beforeAll(async () => {
  lab = await startNetLab({ nodes: 0 });
  await lab.balancer.ask({ do: 'serveLines', address: '127.0.0.1', port: 9025, greeting: 'hello' });
  await lab.client.ask({ do: 'serveLines', port: 9025, greeting: 'hello\n' });
  await writeFile(`${lab.folder}/haproxy.cfg`, proxy);
  lab.balancer.execPort.converse('haproxy', ['-db', '-f', `${lab.folder}/haproxy.cfg`], signal); // ends with the lab
  await lab.balancer.nft(interception);
  await vi.waitUntil(
    async () => 'id' in (await lab.client.ask({ do: 'dial', address: '10.10.0.1', port: 26 })),
    patience,
  );
});
afterAll(() => lab[Symbol.asyncDispose]());

const hostOf = (): ReturnType<typeof makeHost> =>
  makeHost({
    exec: lab.balancer.execPort,
    log: {
      debug: () => undefined,
      info: () => undefined,
      warn: (_, message) => void warnings.push(message),
      error: () => undefined,
      failing: () => undefined,
      child: () => expect.fail('no child'),
    },
  });

test('listening sockets are found with their address and family', async () => {
  const listening = await hostOf().listening(signal);
  expect(listening).toContainEqual({ address: undefined, family: 4, port: 25 });
  expect(listening).toContainEqual({ address: address('fd10::1'), family: 6, port: 25 });
  expect(listening).toContainEqual({ address: address('10.10.0.1'), family: 4, port: 26 });
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

test.each([
  ['10.10.0.1', '10.10.0.2'],
  ['fd10::1', 'fd10::2'],
])(
  'a connection that this host opened from %s continues, although its port is that of a listener',
  async (own, peer) => {
    const outgoing = await connectFrom(own, 40_000, peer, 9025);
    const incoming = await dial(own, 40_000);
    await hostOf().endConnections([listener(own, 25), listener(own, 40_000)], signal);
    await expect.poll(() => endOf(incoming), patience).toBe('reset');
    expect(await outgoing.says('still there')).toBe('still there');
    await hostOf().endConnections([listener(own, 40_000)], signal);
    expect(await outgoing.says('and still')).toBe('and still');
    expect(warnings).toEqual([]);
  },
);

test('a listener without connections, or a list that is too long for one call, is not an error', async () => {
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

/** A connection that the load-balancer host opens from the given port; its text is echoed. */
async function connectFrom(
  own: string,
  ownPort: number,
  peer: string,
  port: number,
): Promise<{ says(text: string): Promise<string | undefined> }> {
  const program = `use IO::Socket::IP; $| = 1;
    my $s = IO::Socket::IP->new(LocalHost => '${own}', LocalPort => ${ownPort}, PeerHost => '${peer}', PeerPort => ${port})
      or die $@;
    print scalar <$s>; while (<STDIN>) { $s->print($_); $s->flush; print scalar(<$s>) // "gone\\n" }`;
  const perl = lab.balancer.execPort.converse('perl', ['-e', program], signal);
  const lines = perl.lines[Symbol.asyncIterator]();
  expect(await lines.next()).toMatchObject({ value: 'hello' });
  return {
    says: async (text) => {
      await perl.write(`${text}\n`);
      return (await lines.next()).value;
    },
  };
}

async function endOf(id: number): Promise<string | undefined> {
  return (await lab.client.ask({ do: 'heard', id })).end;
}

function address(text: string): Ip {
  const ip = parseIp(text);
  if (ip === undefined) throw new Error(text);
  return ip;
}

function listener(to: string, port: number): ListenerAddress {
  return { address: address(to), protocol: 'TCP', port };
}
