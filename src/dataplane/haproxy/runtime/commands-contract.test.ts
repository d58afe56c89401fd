import { haproxyCommandsContract } from '../../../../test/contract/haproxy-commands.ts';
import { makeMachineRig } from '../../../../test/make/haproxy-rig.ts';
import { listener, node, tableOf } from '../../../../test/make/table.ts';
import { makeRuntimeApi } from './client.ts';

haproxyCommandsContract('HAProxy in memory', async () => {
  const { machine, proxy } = makeMachineRig();
  const { signal } = new AbortController();
  const nodes = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];
  await proxy.upsert(tableOf([listener('192.0.2.50', 80, 30_080)], nodes), signal);
  const folder = '/run/furiwake/net-1/haproxy';
  const api = makeRuntimeApi({ sockets: machine.sockets, path: `${folder}/worker.sock` });
  return {
    map: `${folder}/services.map`,
    ask: async (command) => (await api.ask([command], signal))[0] ?? '',
    [Symbol.asyncDispose]: async () => undefined,
  };
});
