import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, vi } from 'vitest';
import { hostContract, type IsAlive } from '../../test/contract/host.ts';
import { silent } from '../../test/make/log.ts';
import { type NetLab, startNetLab } from '../../test/netns/net-lab.ts';
import { patience } from '../../test/netns/patience.ts';
import type { ListenerAddress } from '../core/traffic/table.ts';
import { makeHost } from './host.ts';

const { signal } = new AbortController();
let lab: NetLab;

/** As HAProxy takes the connections of listeners; those to port 40000 come by way of nftables. */
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
/** Takes datagrams. */
const datagrams = `use IO::Socket::IP; $| = 1;
  my $s = IO::Socket::IP->new(LocalHost => 'fd10::1', LocalPort => 27, Proto => 'udp') or die $@;
  print "ready\n"; <STDIN>`;

beforeAll(async () => {
  lab = await startNetLab({ nodes: 0 });
  await lab.balancer.ask({ do: 'serveLines', address: '127.0.0.1', port: 9025, greeting: 'hello' });
  await lab.client.ask({ do: 'serveLines', port: 9025, greeting: 'hello\n' });
  await writeFile(`${lab.folder}/haproxy.cfg`, proxy);
  lab.balancer.execPort.spawn('haproxy', ['-db', '-f', `${lab.folder}/haproxy.cfg`], signal); // ends with the lab
  await lab.balancer.nft(interception);
  const perl = lab.balancer.execPort.spawn('perl', ['-e', datagrams], signal); // ends with the lab
  await perl.lines[Symbol.asyncIterator]().next();
  await vi.waitUntil(
    async () => 'id' in (await lab.client.ask({ do: 'dial', address: '10.10.0.1', port: 26 })),
    patience,
  );
});
afterAll(() => lab[Symbol.asyncDispose]());

hostContract('a host in a network namespace', async () => {
  const ended = new AbortController();
  return {
    host: makeHost({
      exec: lab.balancer.execPort,
      log: { ...silent, warn: (_, message) => expect.fail(message) },
    }),
    connectTo,
    connectFrom: (own) => connectFrom(own, ended.signal),
    [Symbol.asyncDispose]: async () => {
      ended.abort();
    },
  };
});

/** A connection of the client; its text is echoed. */
async function connectTo({ address, port }: ListenerAddress): Promise<IsAlive> {
  const { id = 0 } = await lab.client.ask({ do: 'dial', address: address.text, port });
  const hears = (text: string): Promise<string | undefined> =>
    vi.waitUntil(async () => {
      const heard = await lab.client.ask({ do: 'heard', id });
      return heard.end === 'open' && heard.text !== text ? undefined : heard.end;
    }, patience);
  let text = 'hello';
  expect(await hears(text)).toBe('open');
  return async () => {
    await lab.client.ask({ do: 'say', id, text: '!' });
    text += '!';
    return (await hears(text)) === 'open';
  };
}

/** A connection of the balancer to the client, which echoes its text. */
async function connectFrom({ address, port }: ListenerAddress, ended: AbortSignal): Promise<IsAlive> {
  const peer = address.family === 4 ? '10.10.0.2' : 'fd10::2';
  const program = `use IO::Socket::IP; $| = 1;
    my $s = IO::Socket::IP->new(LocalHost => '${address.text}', LocalPort => ${port}, PeerHost => '${peer}', PeerPort => 9025)
      or die $@;
    print scalar <$s>; while (<STDIN>) { $s->print($_); $s->flush; print scalar(<$s>) // "gone\\n" }`;
  const perl = lab.balancer.execPort.spawn('perl', ['-e', program], ended);
  const lines = perl.lines[Symbol.asyncIterator]();
  expect(await lines.next()).toMatchObject({ value: 'hello' });
  return async () => {
    await perl.write('still there\n');
    return (await lines.next()).value === 'still there';
  };
}
