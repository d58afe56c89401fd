import { hostname } from 'node:os';
import { expect, test } from 'vitest';
import { withOptions } from '../../../test/make/options.ts';
import { listener } from '../../../test/make/table.ts';
import { echoPort, namePort, type Rig, startRig } from '../../../test/netns/haproxy-rig.ts';
import { patience } from '../../../test/netns/patience.ts';
import type { EndedConnection, Proxy } from '../../ports/proxy.ts';

const unusedPort = 30_999;
const [client4, client6] = ['10.10.0.2', 'fd10::2'];

/** The start of TLS, in Perl. */
const sendHello = String.raw`
  my $server = IO::Socket::INET->new("10.50.0.3:80") or die;
  syswrite $server, "\x16\x03\x01\x02\x00\x01\r\n\r\n";
  1 while sysread $server, my $answer, 1000;`;

/** The connections that HAProxy remembers, once there are so many. */
async function ended(proxy: Proxy, rig: Rig, count: number): Promise<readonly EndedConnection[]> {
  const read = (): Promise<readonly EndedConnection[]> => proxy.connections({ keys: undefined, most: 100 }, rig.signal);
  await expect.poll(async () => (await read()).length, patience).toBe(count);
  return read();
}

test('HAProxy remembers who connected, to which listener and server, and how it ended', async () => {
  await using rig = await startRig({ nodes: 1 });
  const { proxy } = rig.newDriver();
  const [web, web6, closed] = [
    listener('10.50.0.1', 80, namePort),
    listener('fd50::1', 8080, namePort),
    listener('10.50.0.2', 80, unusedPort),
  ] as const;
  const pages = withOptions('10.50.0.3', 80, namePort, { profile: { mode: 'http' } });
  await proxy.upsert(rig.table([web, web6, closed, pages]), rig.signal);
  const [n1] = rig.lab.nodes;
  expect(await ended(proxy, rig, 0)).toEqual([]);

  await rig.fetch('10.50.0.1');
  await rig.fetch('fd50::1', 8080);
  await rig.fetch('10.50.0.2').catch(() => undefined);
  await rig.fetch('10.50.0.3');
  const [first, second, refused, request] = await ended(proxy, rig, 4);
  expect(first).toMatchObject({
    client: { address: client4 },
    listener: web.key,
    server: { address: n1?.ip4, port: namePort },
    retries: 0,
    end: '--',
    words: 'closed',
  });
  expect(Math.abs((first?.atMs ?? 0) - Date.now())).toBeLessThan(60_000);
  expect(first?.bytesIn).toBeGreaterThan(20);
  expect(first?.bytesOut).toBeGreaterThan(20);
  expect(second).toMatchObject({ client: { address: client6 }, listener: web6.key, server: { address: n1?.ip6 } });
  expect(refused).toMatchObject({ listener: closed.key, end: 'SC', words: 'the server refused it', bytesOut: 0 });
  expect(request).toMatchObject({ listener: pages.key, server: { address: n1?.ip4, port: namePort } });
  expect(await proxy.connections({ keys: new Set([web6.key]), most: 100 }, rig.signal)).toEqual([second]);
  expect(await proxy.connections({ keys: undefined, most: 2 }, rig.signal)).toEqual([refused, request]);

  // Without a server: none is in use, or what the client sends is not HTTP.
  const drained = rig.lab.nodes.map((node) => ({ node, state: 'drain' as const }));
  await proxy.upsert(rig.table([web, pages], drained), rig.signal);
  await rig.fetch('10.50.0.1').catch(() => undefined);
  expect((await ended(proxy, rig, 5)).at(-1)).toMatchObject({
    listener: web.key,
    server: undefined,
    connectMs: undefined,
    end: 'SC',
    words: 'no server was available',
  });
  await rig.lab.client.exec('perl', '-MIO::Socket::INET', '-e', sendHello);
  expect((await ended(proxy, rig, 6)).at(-1)).toMatchObject({ listener: pages.key, server: undefined, end: 'PR' });

  // A connection is there when it has ended, with all of its bytes.
  await proxy.upsert(rig.table([listener('10.50.0.1', 25, echoPort)]), rig.signal);
  const connection = await rig.connect();
  await connection.echoes();
  expect(await ended(proxy, rig, 6)).toHaveLength(6);
  await connection.hangUp();
  expect((await ended(proxy, rig, 7)).at(-1)).toMatchObject({ client: { address: client4 }, end: '--' });
});

test.each([client4, client6])('a syslog server gets a line for each connection: %s', async (host) => {
  await using rig = await startRig({ nodes: 1 });
  const { client } = rig.lab;
  const { proxy } = rig.newDriver({ connectionLog: { host, port: 5514 } });
  await proxy.upsert(rig.table([listener('10.50.0.1', 80, namePort)]), rig.signal);
  const receiver = client.execPort.spawn(
    'perl',
    [
      '-MIO::Socket::IP',
      '-e',
      '$| = 1; $s = IO::Socket::IP->new(LocalHost => $ARGV[0], LocalPort => 5514, Type => SOCK_DGRAM) or die; print "ready\\n"; while ($s->recv($m, 2000)) { print "$m\\n" }',
      host,
    ],
    rig.signal,
  );
  await using _receiver = receiver;
  const lines = receiver.lines[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe('ready');
  await rig.fetch('10.50.0.1');
  expect((await lines.next()).value).toMatch(
    new RegExp(
      `^<134>1 \\S+ ${hostname()} haproxy \\d+ - - time=\\d+\\.\\d+ client=${client4} port=\\d+ listener=10\\.50\\.0\\.1\\|80 server=\\S+:${namePort} `,
    ),
  );
  expect(await ended(proxy, rig, 1)).toHaveLength(1);
});
