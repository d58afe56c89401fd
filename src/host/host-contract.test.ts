import { hostContract, type IsAlive } from '../../test/contract/host.ts';
import { type FakeConnection, makeFakeHost } from '../../test/make/fake-host.ts';
import { addressOf } from '../../test/make/table.ts';

hostContract('the fake that the tests of the agent use', async () => {
  const connections = new Set<FakeConnection>();
  const open = (connection: FakeConnection): IsAlive => {
    connections.add(connection);
    return async () => connections.has(connection);
  };
  let port = 40_000;
  const peerOf = ({ address }: FakeConnection['local']): FakeConnection['peer'] => ({ address, port: port++ });
  return {
    host: makeFakeHost({
      connections,
      listening: async () => [
        { protocol: 'TCP', address: undefined, family: 4, port: 25 },
        { protocol: 'TCP', address: addressOf('fd10::1'), family: 6, port: 25 },
        { protocol: 'TCP', address: addressOf('10.10.0.1'), family: 4, port: 26 },
        { protocol: 'UDP', address: addressOf('fd10::1'), family: 6, port: 27 },
      ],
    }),
    connectTo: async (local) => open({ local, peer: peerOf(local), isTaken: true }),
    connectFrom: async (local) => open({ local, peer: peerOf(local), isTaken: false }),
    [Symbol.asyncDispose]: async () => undefined,
  };
});
