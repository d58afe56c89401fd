import { describe, expect, test } from 'vitest';
import type { ListenerKey } from '../../src/core/model/names.ts';
import type { ListenerAddress } from '../../src/core/traffic/table.ts';
import { usualCallMs } from '../../src/ports/call-times.ts';
import type { Host } from '../../src/ports/host.ts';
import { addressOf } from '../make/table.ts';
import { fastestMs, timedScenes } from './in-time.ts';

/** Resolves with whether a connection still carries data. */
export type IsAlive = () => Promise<boolean>;

/**
 * A host with the addresses 10.10.0.1 and fd10::1. TCP sockets listen on 0.0.0.0:25, [fd10::1]:25 and 10.10.0.1:26; a proxy
 * accepts connections there, and on port 40000 of both addresses. A UDP socket takes datagrams on [fd10::1]:27.
 */
export type HostScene = AsyncDisposable & {
  readonly host: Host;
  /** A client connects to a listener. */
  connectTo(listener: ListenerAddress): Promise<IsAlive>;
  /** A program of the host connects to another one, from this address and port. */
  connectFrom(own: ListenerAddress): Promise<IsAlive>;
};

const { signal } = new AbortController();
const listener = (address: string, port: number, protocol: ListenerAddress['protocol'] = 'TCP'): ListenerAddress => ({
  address: addressOf(address),
  protocol,
  port,
});
const [four, six, other] = [listener('10.10.0.1', 25), listener('fd10::1', 25), listener('10.10.0.1', 26)];

/** What every implementation of the port does. */
export function hostContract(name: string, makeGiven: () => Promise<HostScene>): void {
  const makeScene = timedScenes(makeGiven, 'host');
  describe(`host contract: ${name}`, () => {
    test('listening sockets have their address and family, a wildcard has no address', async () => {
      await using scene = await makeScene();
      const listening = await scene.host.listening(signal);
      expect(listening).toContainEqual({ protocol: 'TCP', address: undefined, family: 4, port: 25 });
      expect(listening).toContainEqual({ protocol: 'TCP', address: six.address, family: 6, port: 25 });
      expect(listening).toContainEqual({ protocol: 'TCP', address: other.address, family: 4, port: 26 });
      expect(listening).toContainEqual({ protocol: 'UDP', address: six.address, family: 6, port: 27 });
    });

    test('ending the connections of a listener takes no longer than a pass waits for it', async () => {
      await using scene = await makeScene();
      await scene.connectTo(four);
      const tookMs = await fastestMs(() => scene.host.endConnections([four, six], signal));
      expect(tookMs).toBeLessThanOrEqual(usualCallMs);
    });

    test('the connections of the listeners end, in both families, and no others', async () => {
      await using scene = await makeScene();
      const ending = [await scene.connectTo(four), await scene.connectTo(four), await scene.connectTo(six)];
      const staying = await scene.connectTo(other);
      await scene.host.endConnections([four, six], signal);
      for (const isAlive of ending) expect(await isAlive()).toBe(false);
      expect(await staying()).toBe(true);
      expect(await (await scene.connectTo(four))()).toBe(true);
    });

    test.each([four, six])('of the connections of $address.text only those that are meant end', async (each) => {
      await using scene = await makeScene();
      const portsOf = async (): Promise<ReadonlySet<number>> =>
        new Set([...(await scene.host.clientsOf([each], signal)).values()].flat().map(({ port }) => port));
      const staying = await scene.connectTo(each);
      const spared = await portsOf();
      const ending = [await scene.connectTo(each), await scene.connectTo(each)];
      await scene.host.endConnections([other, each], signal, (of, { port }) => of === each && !spared.has(port));
      for (const isAlive of ending) expect(await isAlive()).toBe(false);
      expect(await staying()).toBe(true);
    });

    test('the clients of a listener are those of its connections; a listener without any is not listed', async () => {
      await using scene = await makeScene();
      const wanted = [four, six, listener('10.10.0.1', 25, 'UDP'), listener('10.10.0.1', 99)];
      const countClients = async (): Promise<readonly number[]> => {
        const clients = await scene.host.clientsOf(wanted, signal);
        for (const [key, ends] of clients)
          for (const { address } of ends) expect(address.family).toBe(key.startsWith('fd10::1|') ? 6 : 4);
        return ['10.10.0.1|25|TCP', 'fd10::1|25|TCP', '10.10.0.1|25|UDP', '10.10.0.1|99|TCP'].map(
          (key) => clients.get(key as ListenerKey)?.length ?? 0,
        );
      };
      const [before4 = 0, before6 = 0] = await countClients();
      for (const to of [four, four, six]) await scene.connectTo(to);
      expect(await countClients()).toEqual([before4 + 2, before6 + 1, 0, 0]);
      expect((await scene.host.clientsOf([], signal)).size).toBe(0);
    });

    test('a listener of UDP ends no connection to the TCP port of the same number', async () => {
      await using scene = await makeScene();
      const staying = await scene.connectTo(four);
      await scene.host.endConnections([listener('10.10.0.1', 25, 'UDP')], signal);
      expect(await staying()).toBe(true);
    });

    test.each(['10.10.0.1', 'fd10::1'])(
      'a connection that the host opened from %s continues, although its port is that of a listener',
      async (address) => {
        await using scene = await makeScene();
        const shared = listener(address, 40_000);
        const outgoing = await scene.connectFrom(shared);
        const incoming = await scene.connectTo(shared);
        await scene.host.endConnections([listener(address, 25), shared], signal);
        expect(await incoming()).toBe(false);
        expect(await outgoing()).toBe(true);
        await scene.host.endConnections([shared], signal);
        expect(await outgoing()).toBe(true);
      },
    );

    test('no listeners, listeners without connections, and hundreds of listeners cause no error', async () => {
      await using scene = await makeScene();
      const many = Array.from({ length: 250 }, (_, index) => listener('10.10.0.1', 1000 + index));
      const ending = await scene.connectTo(four);
      await scene.host.endConnections([], signal);
      await scene.host.endConnections(many, signal);
      expect(await ending()).toBe(true);
      await scene.host.endConnections([...many, four], signal);
      expect(await ending()).toBe(false);
      await scene.host.endConnections([four], signal);
    });

    test('an aborted call rejects, and ends no connection', async () => {
      await using scene = await makeScene();
      const staying = await scene.connectTo(four);
      const aborted = AbortSignal.abort(new Error('shutting down'));
      await expect(scene.host.endConnections([four], aborted)).rejects.toThrow('shutting down');
      await expect(scene.host.listening(aborted)).rejects.toThrow('shutting down');
      expect(await staying()).toBe(true);
    });
  });
}
